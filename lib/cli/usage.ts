export const usage = `Usage: fastify-gatehouse <command>

  secret [--bytes <n>]          a secret of random bytes, as base64url (default 32, at most 1024)
  keys [--alg ES256|EdDSA]      a key that signs tokens: a private and a public JWK set, as JSON (default ES256)
  hash [--algorithm <name>]     the hash of a password: argon2id (default), scrypt or bcrypt

hash asks for the password without showing it, or reads it from standard input:
  fastify-gatehouse hash < password.txt
It is never taken from the arguments, where other users and the shell's history see it.
`
