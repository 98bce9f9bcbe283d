import { describe, expect, it } from 'vitest'
import { ClaimFailed, Claims, NotSeen } from '../../src/demo/claims.ts'

describe('claims', () => {
  it('a claim that holds is counted', async () => {
    const claims = new Claims()
    claims.same('two lists are alike', [1, { a: 2 }], [1, { a: 2 }])
    expect(await claims.happens('it comes', Promise.resolve('news'))).toBe('news')
    expect(claims.summary()).toBe('2 claims checked, 0 failed')
  })

  it('a claim that does not hold says what was expected and what was seen', () => {
    const claims = new Claims()
    const claim = (): void => claims.same('server 3 shows nothing of z', { found: true }, { found: false })
    expect(claim).toThrow(new ClaimFailed('server 3 shows nothing of z', '{"found":false}', '{"found":true}'))
    expect(claims.summary()).toBe('1 claims checked, 1 failed')
  })

  it('what does not come in time is a claim that does not hold', async () => {
    const claims = new Claims()
    const late = Promise.reject(new NotSeen('server 3 to apply y', 'nothing within 5000 ms'))
    await expect(claims.happens('y arrives', late)).rejects.toThrow(
      new ClaimFailed('y arrives', 'server 3 to apply y', 'nothing within 5000 ms'),
    )
    expect(claims.summary()).toBe('1 claims checked, 1 failed')
  })

  it('any other failure is no claim', async () => {
    const claims = new Claims()
    await expect(claims.happens('y arrives', Promise.reject(new Error('a defect')))).rejects.toThrow(
      'a defect',
    )
    expect(claims.summary()).toBe('0 claims checked, 0 failed')
  })
})
