import type { ChildProcess } from 'node:child_process'

const running = new Set<ChildProcess>()

/** Sees to it that a process does not outlive this one, whatever way this one ends. @returns the same. */
export function endedWithThis(child: ChildProcess): ChildProcess {
  running.add(child)
  child.once('exit', () => running.delete(child))
  return child
}

process.once('exit', () => {
  for (const child of running) child.kill('SIGKILL')
})
