import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  isHex32,
  makeNonce,
  proofMatches,
  proofOf,
  readSecretFile,
} from '../../src/protocol/authentication.ts'

const secret = 'correct horse battery staple'

describe('a proof', () => {
  const nonces = { caller: makeNonce(), responder: makeNonce() }

  it('matches for who knows the secret, the role and both nonces', () => {
    const proof = proofOf({ secret, role: 'client', nonces })
    expect(isHex32(proof)).toBe(true)
    expect(proofMatches(proof, { secret, role: 'client', nonces })).toBe(true)
  })

  it('cannot be sent back to its maker: each role has its own', () => {
    const proof = proofOf({ secret, role: 'server', nonces })
    expect(proofMatches(proof, { secret, role: 'client', nonces })).toBe(false)
    expect(proofMatches(proof, { secret, role: 'peer', nonces })).toBe(false)
    const turned = { caller: nonces.responder, responder: nonces.caller }
    expect(proofMatches(proof, { secret, role: 'server', nonces: turned })).toBe(false)
  })

  it('cannot be used again: each nonce is new', () => {
    const proof = proofOf({ secret, role: 'client', nonces })
    expect(
      proofMatches(proof, { secret, role: 'client', nonces: { ...nonces, responder: makeNonce() } }),
    ).toBe(false)
    expect(new Set(Array.from({ length: 100 }, makeNonce)).size).toBe(100)
  })

  it('does not match for another secret, nor where it is no proof at all', () => {
    const proof = proofOf({ secret, role: 'client', nonces })
    expect(proofMatches(proof, { secret: `${secret}!`, role: 'client', nonces })).toBe(false)
    for (const wrong of ['', 'x', proof.slice(1), `${proof}00`, proof.toUpperCase().replace(/\d/g, 'A')]) {
      expect(proofMatches(wrong, { secret, role: 'client', nonces })).toBe(false)
    }
  })

  it('is the HMAC-SHA-256 that the documentation gives', () => {
    const known = { caller: '00'.repeat(32), responder: 'ff'.repeat(32) }
    expect(proofOf({ secret, role: 'peer', nonces: known })).toBe(
      'afd6f9b6b44cced8d170abeb605fbccfdc8d91969279fa9b0060b81bf96167d4',
    )
  })
})

describe('a secret file', () => {
  let directory = ''
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'tidings-secret-'))
  })
  afterEach(() => {
    rmSync(directory, { recursive: true })
  })

  function file(content: string, mode = 0o600): string {
    const path = join(directory, 'secret')
    writeFileSync(path, content)
    chmodSync(path, mode)
    return path
  }

  it('holds the secret, and line ends that do not belong to it', () => {
    expect(readSecretFile(file(`${secret}\r\n\n`))).toEqual({ secret })
    expect(readSecretFile(file(` ${secret} `))).toEqual({ secret: ` ${secret} ` })
  })

  it('with a short secret is refused, saying how to make a good one', () => {
    expect(() => readSecretFile(file('123456789012345\n'))).toThrow(
      /holds a secret of 15 bytes.*openssl rand -hex 32/,
    )
    expect(() => readSecretFile(file('1234567890123456\n'))).not.toThrow()
  })

  it('that is not there is an error that names it', () => {
    expect(() => readSecretFile(join(directory, 'none'))).toThrow(/secret file .*none cannot be read/)
  })

  it.skipIf(process.platform === 'win32')('that others may read earns a warning', () => {
    expect(readSecretFile(file(secret, 0o644)).warning).toMatch(/chmod 600/)
  })
})
