import t from 'tap'
import { deriveKey } from '../../lib/secrets/secret-uses.js'

const secret = Buffer.from('v1ZK9mJ0Qx3fWc7RtYh2Lb8NpUe5DgSa6XoTiMk4BzA')
const derived = (...purpose: [purpose: string, length?: number]) => deriveKey(secret, ...purpose).toString('base64url')

t.test('derives the same keys as earlier versions, so that an update ends no session', async t => {
  t.equal(derived('device cookie'), 'JPV-VybyqXshDEkqZgEJKwraIJDrBipHNfcDNBSKjbo')
  t.equal(derived('session cookie\0web'), '2iUCHkLey35Ilo1jOfkRGCXI0eRIKd1Dw6gYDuTYybA')
  t.equal(derived('refresh token secret name', 9), 'kp_C_hQO3004')
})

t.test('takes a purpose of any length, such as one with the name of a scheme', async t => {
  // the info of HKDF in Node has at most 1,024 bytes: 20 are fixed, and 1,004 are left
  t.equal(derived('x'.repeat(1_004)), 'K1IPASMEeNOVLSkCdYanECUFfsiclmK4ONJXzS6V1V0')
  t.equal(derived('x'.repeat(1_005)), 'VeFFr1nLcgph4LxLOieu2Qqyin4zU_4kNKEa2QlaJ-s')
  t.equal(derived('é'.repeat(503)), 'UgeR-gaIFGFhbtRAJa67vZOtd3xPWev4Whu9G99eIKo')
  t.not(derived('x'.repeat(1_005)), derived('x'.repeat(1_006)))
})
