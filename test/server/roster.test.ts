import { expect, it } from 'vitest'
import type { ServerEvent } from '../../src/server/narrator.ts'
import { Roster } from '../../src/server/roster.ts'

it('a peer whose link is merely replaced has not joined again', () => {
  const told: ServerEvent['kind'][] = []
  const roster = new Roster(({ kind }) => told.push(kind))
  roster.linkUp('2', 'to', '127.0.0.1:2')
  roster.linkUp('2', 'from', '127.0.0.1:2')
  roster.linkUp('2', 'from', '127.0.0.1:2')
  expect(told).toEqual(['peerJoined'])
  roster.linkDown('2', 'from', 'gone')
  roster.linkDown('2', 'to', 'gone')
  expect(told).toEqual(['peerJoined', 'linkLost', 'peerLeft'])
})
