/** The odd primes up to 167 for which the residues of a vulnerable modulus are told from chance. */
const primes = [3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 47, 53, 59, 61, 67, 71, 73, 79, 83, 89, 97, 101, 103, 107, 109, 113, 127, 131, 137, 139, 149, 151, 157, 163, 167]

/** The powers of 65537 modulo a prime. */
function powers (prime: number): ReadonlySet<number> {
  const found = new Set<number>()
  for (let power = 1; !found.has(power); power = power * (65537 % prime) % prime) found.add(power)
  return found
}

/**
 * Whether an RSA modulus has the fingerprint of CVE-2017-15361 (ROCA; Nemec et al., "The Return of Coppersmith's Attack", 2017): its primes were made as
 * `k * M + 65537^a mod M`, so that modulo every small prime it is a power of 65537. A random modulus has it once in 2^27 or less.
 */
export function hasRocaFingerprint (modulus: bigint): boolean {
  return primes.every(prime => powers(prime).has(Number(modulus % BigInt(prime))))
}
