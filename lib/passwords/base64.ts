const alphabet = 'ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/'
const bcryptAlphabet = './ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789'

/** Decodes base64 in bcrypt's alphabet. Ignores surplus bits in the last character, which some implementations set. */
export function fromBcrypt64 (text: string): Buffer {
  return Buffer.from(text.replace(/./g, char => alphabet.charAt(bcryptAlphabet.indexOf(char))), 'base64')
}

export function toBcrypt64 (value: Buffer): string {
  return base64(value).replace(/./g, char => bcryptAlphabet.charAt(alphabet.indexOf(char)))
}

/** Encodes as base64 without padding, as PHC strings have it. */
export function base64 (value: Buffer): string {
  return value.toString('base64').replace(/=+$/, '')
}
