import { randomBytes } from 'node:crypto'
import t from 'tap'
import { createHandle, RefreshTokens } from '../../../lib/schemes/jwt/refresh-token.js'

t.test('a token is read only with all that it was written for', async t => {
  const issuer = 'https://api.example.com'
  const [secret, older] = [randomBytes(32), randomBytes(32)]
  const tokens = (more: object = {}) => new RefreshTokens({ issuer, prefix: 'rt', secrets: [secret], ...more })
  const written = { handle: createHandle(), generation: 12 }
  const token = tokens().write(written, 'spa', tokens().newest) ?? ''
  t.same(tokens().read(token, 'spa'), written)
  t.same(tokens({ secrets: [older, secret] }).read(token, 'spa'), written, 'an older secret is enough')

  const [, mac = ''] = /\.([^.]*)$/.exec(token) ?? []
  const changed = (handle: string, generation: number) => `rt_${handle}.${generation}.${mac}`
  t.equal(changed(written.handle, 12), token)
  t.equal(tokens().read(changed(createHandle(), 12), 'spa'), null, 'another handle')
  t.equal(tokens().read(changed(written.handle, 13), 'spa'), null, 'another generation')
  t.equal(tokens().read(token, 'other'), null, 'another client')
  t.equal(tokens({ issuer: 'https://api.example.org' }).read(token, 'spa'), null, 'another issuer')
  t.equal(tokens({ secrets: [older] }).read(token, 'spa'), null, 'another secret')
  t.equal(tokens({ prefix: 'other' }).read(token, 'spa'), null, 'another prefix')
})

t.test('no part of the authenticated text can pass for a part of its neighbour', async t => {
  const secrets = [randomBytes(32)]
  const handle = createHandle()
  const macOf = (issuer: string, generation: number, client: string) => {
    const tokens = new RefreshTokens({ issuer, prefix: 'rt', secrets })
    return tokens.write({ handle, generation }, client, tokens.newest)?.slice(-43)
  }
  t.not(macOf('https://a', 1, '2:spa'), macOf('https://a', 12, ':spa'))
  t.not(macOf('https://a', 1, '1:spa'), macOf('https://a', 11, 'spa'))
  t.not(macOf('https://a', 1, 'spa'), macOf(`https://a${handle.slice(0, 1)}`, 1, 'spa'))
})
