/**
 * How many bits an attacker who knows people's habits has to guess: the size of the alphabet for every character that nothing foretells.
 * Generous to what people invent, so that it does not fall below the truth for what a random generator made.
 * The alphabet is told by the characters in use, where the caller does not know it.
 */
export function estimateBits (text: string, alphabet?: number): number {
  let bits = 0
  const rest = text.replace(uuid, (_match, version: string) => {
    bits += version === '4' ? 122 : 40
    return ''
  })
  if (rest === '') return bits
  const chars = [...rest]
  const unforetold = chars.length - foretold(rest, chars)
  return bits + unforetold * (looksLikeLanguage(rest) ? languageBits : Math.log2(inUse(chars, alphabet ?? alphabetOf(rest))))
}

/** RFC 9562: 122 random bits in version 4; the others are made of times and addresses. */
const uuid = /[0-9a-f]{8}-[0-9a-f]{4}-([0-9a-f])[0-9a-f]{3}-[0-9a-f]{4}-[0-9a-f]{12}/gi

/** Shannon's estimate for English prose, per character, rounded up. */
const languageBits = 2

const classes: ReadonlyArray<readonly [RegExp, number]> = [
  [/[a-z]/, 26], [/[A-Z]/, 26], [/[0-9]/, 10], [/[-_+/=]/, 2], [/[ !-*,.:-<>-@[-^`{-~]/, 31], [/[\u00a0-\uffff]/, 64]
]

/** The size of the alphabet that a generator of such text draws from. */
function alphabetOf (text: string): number {
  if (isHex(text)) return /[a-f]/i.test(text) ? 16 : 10
  const size = classes.reduce((sum, [pattern, count]) => pattern.test(text) ? sum + count : sum, 0)
  return /[a-z]/.test(text) && /[A-Z]/.test(text) ? Math.max(size, 62) : Math.max(size, 2)
}

function isHex (text: string): boolean {
  return /^(?:[0-9a-f]+|[0-9A-F]+)$/.test(text)
}

/** The number of different characters, where it is far smaller than the alphabet would show by chance. */
function inUse (chars: readonly string[], alphabet: number): number {
  const distinct = new Set(chars).size
  const expected = alphabet * (1 - (1 - 1 / alphabet) ** chars.length)
  return distinct < expected * 0.6 ? distinct : alphabet
}

/** How many characters follow from what stands before them, or belong to a word. A few do so by chance: below three tenths of the text they count for nothing. */
function foretold (text: string, chars: readonly string[]): number {
  const marks = new Uint8Array(chars.length)
  markRuns(chars, marks)
  markRepeats(text, marks)
  markWords(text, shortWords, marks)
  const chance = count(marks) < chars.length * 0.3
  const sure = chance ? new Uint8Array(chars.length) : marks
  markWords(text, longWords, sure)
  return count(sure)
}

function count (marks: Uint8Array): number {
  return marks.reduce((sum, mark) => sum + mark, 0)
}

const rows = ['qwertyuiop', 'asdfghjkl', 'zxcvbnm', '1234567890', '!@#$%^&*()', '1q2w3e4r5t6y7u8i9o0p', '1qaz2wsx3edc4rfv5tgb6yhn7ujm']
const neighbours = new Set(rows.flatMap(row => [...row].slice(1).map((char, i) => `${row[i]}${char}`)))

/** `aaaa`, `1234`, `dcba`, `qwer`: four or more, each a step from the last. */
function markRuns (chars: readonly string[], marks: Uint8Array): void {
  let start = 0
  let kind: string | null = null
  const steps = chars.slice(1).map((char, i) => step(`${chars[i]}`, char))
  for (const [i, next] of [...steps, null].entries()) {
    if (next !== null && next === kind) continue
    if (kind !== null && i + 1 - start >= 4) marks.fill(1, start + 1, i + 1)
    start = i
    kind = next
  }
}

function step (from: string, to: string): string | null {
  const distance = to.charCodeAt(0) - from.charCodeAt(0)
  if (Math.abs(distance) <= 1) return String(distance)
  const pair = (from + to).toLowerCase()
  if (neighbours.has(pair)) return 'right'
  return neighbours.has([...pair].reverse().join('')) ? 'left' : null
}

/** Four characters or more that stood there before. */
function markRepeats (text: string, marks: Uint8Array): void {
  const lower = text.toLowerCase()
  const seen = new Map<string, number>()
  for (let i = 0; i + 4 <= lower.length && i + 4 <= marks.length; i++) {
    const four = lower.slice(i, i + 4)
    const before = seen.get(four)
    if (before === undefined) seen.set(four, i)
    else marks.fill(1, Math.max(i, before + 1), i + 4)
  }
}

const words = `access admin alice always another anything application auth authentication backend basic because bearer before better beware bytes change changed changeit changeme
character characters client company complex config confidential cookie correct create crypto database default demo deploy develop development django docker donot dont dummy easily encode
encrypt encryption enter environment everyone example express fake fastify file forbidden from generate generated gitlab github google guess hard hash have hello here hidden horse host
hunter ignore insecure insert internet iloveyou jason java json jsonwebtoken jwtsecret keep keyboard know knows laravel least letmein local localhost login long love mango master maybe
minimum mongo monkey more must mykey mysecret never nobody node normal nothing only other override pass passphrase passport passw0rd password permission phrase place placeholder please prod
production project public private python random react really refresh replace root safe sample secret secretkey secure security senha sequence server service session shared should sign signature
signing simple some someone something spring staging staple stack start store string strong super supersecret system tell temp temporary test testing that there these they thing this token
tokens tomcat topsecret trust trustno1 type unguessable unique update user username users value verify very want website welcome what whatever with word world would your yours`.split(/\s+/)
const shortWords = byBeginning(words.filter(word => word.length < 6))
const longWords = byBeginning(words.filter(word => word.length >= 6))

/** Words under their first four letters: a table of a hundred thousand keys is checked at boot. */
function byBeginning (list: readonly string[]): ReadonlyMap<string, readonly string[]> {
  const index = new Map<string, string[]>()
  for (const word of list) index.set(word.slice(0, 4), [...index.get(word.slice(0, 4)) ?? [], word])
  return index
}

const leet: Readonly<Record<string, string>> = { 0: 'o', 1: 'i', 3: 'e', 4: 'a', 5: 's', 7: 't', '@': 'a', $: 's', '!': 'i' }

/** Words of placeholders and passwords, also as `s3cr3t`; but not in hexadecimal digits, of which six in a row are `acce55` by chance. */
function markWords (text: string, index: ReadonlyMap<string, readonly string[]>, marks: Uint8Array): void {
  const lower = text.toLowerCase()
  const plain = isHex(text) ? lower : lower.replace(/[013457@$!]/g, char => `${leet[char]}`)
  for (const spelling of lower === plain ? [lower] : [lower, plain]) {
    for (let at = 0; at + 4 <= spelling.length; at++) {
      for (const word of index.get(spelling.slice(at, at + 4)) ?? []) {
        if (spelling.startsWith(word, at)) marks.fill(1, at, at + word.length)
      }
    }
  }
}

const pairs = new Set(('th he in er an re on at en nd ti es or te of ed is it al ar st to nt ng se ha as ou io le ve co me de hi ri ro ic ne ea ra ce li ch ll be ma si om ur ' +
  'ey ke et ec cr ly us id no so ho wi ca el la ta tr us lo ge ut il ot ss').split(' '))

/**
 * Mostly letters, whose case seldom changes within a word, and about half of whose pairs are the commonest of European languages. By chance a tenth are, and of those
 * that hexadecimal digits make more.
 */
function looksLikeLanguage (text: string): boolean {
  const letters = (text.match(/[a-z\s]/gi)?.length ?? 0) / text.length
  if (letters < 0.6 || /^[0-9a-f]+$/i.test(text)) return false
  let all = 0
  let common = 0
  let humps = 0
  for (let i = 0; i + 2 <= text.length; i++) {
    const pair = text.slice(i, i + 2)
    if (!/^[a-z]{2}$/i.test(pair)) continue
    all++
    if (pairs.has(pair.toLowerCase())) common++
    if (/[a-z][A-Z]|[A-Z][a-z]/.test(pair)) humps++
  }
  return all >= 12 && humps < all * 0.2 && common > all * (letters > 0.9 ? 0.4 : 0.5)
}
