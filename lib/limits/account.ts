import { createHash } from 'node:crypto'

/** Characters of a name that tell accounts apart here. Longer ones that begin alike count as one. */
const longest = 1_024

/** What is not seen, or is only an accent on the letter before: databases with a loose collation take names with and without them for one. */
const unseen = /[\p{Default_Ignorable_Code_Point}\p{Cc}\u0300-\u036f]/gu

/**
 * A name as it counts: Unicode's compatibility form (NFKC), case folded, without accents and invisible characters, spaces trimmed and single.
 * Two accounts whose names differ in nothing else share a count; the other way round, every spelling that a looser database lets in would be a count of its own.
 */
export function spelling (name: string): string {
  return name.slice(0, longest).normalize('NFKD').replace(unseen, '').toUpperCase().toLowerCase().normalize('NFKC').replace(/\s+/g, ' ').trim()
}

/** 32 bytes for an account of a realm, whatever its spelling. */
export function accountTag (realm: string, name: string): Buffer {
  return createHash('sha256').update(JSON.stringify([realm, spelling(name)])).digest()
}
