import { describe, expect, it } from 'vitest'
import { SessionCut } from '../../src/client/session-cut.ts'
import type { Cut } from '../../src/replica/cut.ts'
import type { Origin, Version } from '../../src/replica/version.ts'

const [west, east, other] = ['1~a', '3~a', '2~a'] as readonly string[] as [Origin, Origin, Origin]

function version(timestamp: number, origin: Origin): Version {
  return { timestamp, origin }
}

function cut(entries: { readonly [origin: string]: number }): Cut {
  return new Map(Object.entries(entries) as [Origin, number][])
}

describe('the cut of a session', () => {
  it('owes a server nothing of what that server has shown itself (R9)', () => {
    const session = new SessionCut()
    session.connected(west, cut({}))
    session.learn(version(1, west), west)
    session.learn(version(4, other), west)
    expect(session.after()).toBeUndefined()
    expect(session.seen).toEqual(cut({ '1~a': 1, '2~a': 4 }))
  })

  it('owes the next server what that one has not applied, and no more than that (R9)', () => {
    const session = new SessionCut()
    session.connected(west, cut({}))
    session.learn(version(1, west), west)
    session.learn(version(4, other), west)
    session.connected(east, cut({ '2~a': 9 }))
    expect(session.after()).toEqual(cut({ '1~a': 1 }))
  })

  it('owes it until a request that came after it was carried out (R9)', () => {
    const session = new SessionCut(new Map(cut({ '1~a': 1 })))
    session.connected(east, cut({}))
    const shown = session.after()
    expect(shown).toEqual(session.after())
    session.accepted(shown ?? cut({}))
    expect(session.after()).toBeUndefined()
    expect(session.seen).toEqual(cut({ '1~a': 1 }))
  })

  it('still owes what rose while that request was under way (R9)', () => {
    const session = new SessionCut(new Map(cut({ '1~a': 1 })))
    session.connected(east, cut({}))
    const shown = session.after()
    session.learn(version(2, west), west)
    session.accepted(shown ?? cut({}))
    expect(session.after()).toEqual(cut({ '1~a': 2 }))
  })

  it('owes what another server has shown, as a watch with a connection of its own does (R9)', () => {
    const session = new SessionCut()
    session.connected(west, cut({ '2~a': 3 }))
    session.learn(version(3, other), east)
    expect(session.after()).toBeUndefined()
    session.learn(version(4, other), east)
    expect(session.after()).toEqual(cut({ '2~a': 4 }))
    session.learn(version(5, other), west)
    expect(session.after()).toBeUndefined()
  })

  it('is owed anew to the same server after its process has started again (R9)', () => {
    const session = new SessionCut()
    session.connected(west, cut({}))
    session.learn(version(1, west), west)
    session.connected('1~b' as Origin, cut({}))
    expect(session.after()).toEqual(cut({ '1~a': 1 }))
  })

  it('forgets of a lost version only what its server does not have of the same origin (R9)', () => {
    const session = new SessionCut(new Map(cut({ '1~a': 7, '2~a': 5, '4~a': 2 })))
    session.connected(east, cut({ '1~a': 3 }))
    expect(session.drop([version(7, west), version(5, other)])).toEqual([version(7, west), version(5, other)])
    expect(session.seen).toEqual(cut({ '1~a': 3, '4~a': 2 }))
    expect(session.after()).toEqual(cut({ '4~a': 2 }))
    expect(session.drop([version(7, west)])).toEqual([])
  })
})
