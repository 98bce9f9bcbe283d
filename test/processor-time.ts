/**
 * How long something takes of this process's time on a processor, in milliseconds: the least of some tries. How busy the
 * machine is otherwise makes little difference to that, and none to how it grows.
 */
export function processorMs(act: () => void, tries = 5): number {
  const times = Array.from({ length: tries }, () => {
    const before = process.cpuUsage()
    act()
    const { user, system } = process.cpuUsage(before)
    return (user + system) / 1_000
  })
  return Math.min(...times)
}
