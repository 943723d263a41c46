export const usage = `Usage: fastify-gatehouse <command>

  secret [--bytes <n>]          print random bytes as base64url (default 32 bytes, at most 1024)
  keys [--alg ES256|EdDSA]      print a new signing key as a private and a public JWK set (default ES256)
  hash [--algorithm <name>]     print the hash of a password: argon2id (default), scrypt or bcrypt

hash asks for the password without echoing it, or reads it from standard input:
  fastify-gatehouse hash < password.txt
It does not accept the password as an argument, because other users and the history of the shell can see arguments.
`
