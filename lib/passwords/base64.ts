const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
const bcryptAlphabet = './ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

/** base64 by another alphabet. Bits beyond the last byte, which some implementations leave set, do not count. */
export function fromBcrypt64 (text: string): Buffer {
  return Buffer.from(text.replace(/./g, char => alphabet.charAt(bcryptAlphabet.indexOf(char))), 'base64')
}

export function toBcrypt64 (value: Buffer): string {
  return base64(value).replace(/./g, char => bcryptAlphabet.charAt(alphabet.indexOf(char)))
}

/** PHC strings have no padding. */
export function base64 (value: Buffer): string {
  return value.toString('base64').replace(/=+$/, '')
}
