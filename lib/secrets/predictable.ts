/**
 * The minimum length of a repetition, a sequence or a part of a keyboard row. Shorter ones occur in random keys by
 * chance.
 */
const windowLength = 5

const rows = [
  'qwertyuiop', 'asdfghjkl', 'zxcvbnm', '123456789012345678901', '!@#$%^&*()', '1q2w3e4r5t6y7u8i9o0p',
  '1qaz2wsx3edc4rfv5tgb6yhn7ujm8ik'
]
const keyboard = new Set(rows.flatMap(row => [row, [...row].reverse().join('')]).flatMap(windowsOf))

/** Common words of placeholders and passwords. */
const words = `
access admin administrator always api application auth authentication authorization backend before between
bigger change character chars client company complex confidential config cookie correct create database default
deploy develop development django docker donot dummy easily encode encrypt encryption enter environment every
everybody everyone example express fallback fastify forbidden frontend generate generated github google guess
hard here hidden hunter ignore iloveyou insecure insert internet json jsonwebtoken jwt key keyboard laravel
least length letmein local localhost login long master maybe minimum mongo monkey must never nobody node nothing
override pass passphrase passport password permission phrase place placeholder please private prod production
project public python random react really refresh replace root safe sample secret secure security senha sequence
server service session shared should sign signature signing simple some something spring staging start store
string strong super system temporary test testing that thirty this token tokens tomcat topsecret trust
unguessable unique update used user username value very welcome whatever with word world would your`.trim().split(/\s+/)

const dates = /\d{4}-\d\d-\d\d(?:t[\d:.]+z)?/g

const leet: Readonly<Record<string, string>> = { 0: 'o', 1: 'i', 3: 'e', 4: 'a', 5: 's', 7: 't', '@': 'a', $: 's' }

/** The words by their first three letters, because a table of a hundred thousand keys may be checked at boot. */
const byBeginning = new Map<string, readonly string[]>()
for (const word of words) byBeginning.set(word.slice(0, 3), [...byBeginning.get(word.slice(0, 3)) ?? [], word])

/**
 * Counts the characters that are not part of a repetition, a sequence, a keyboard row, a date or a common word (also
 * one spelled like `s3cr3t`).
 */
export function countUnpredictable (text: string): number {
  const lower = text.toLowerCase()
  const predictable = new Uint8Array(lower.length)
  markWindows(lower, predictable)
  for (const { 0: date, index } of lower.matchAll(dates)) predictable.fill(1, index, index + date.length)
  markWords(lower.replace(/[013457@$]/g, char => `${leet[char]}`), predictable)
  let count = 0
  for (const mark of predictable) count += 1 - mark
  return count
}

/** Returns true if at least half of a text consists of repetition, sequences, dates and common words. */
export function isPredictable (text: string): boolean {
  return countUnpredictable(text) * 2 <= text.length
}

function markWindows (text: string, predictable: Uint8Array): void {
  const seen = new Set<string>()
  for (let at = 0; at + windowLength <= text.length; at++) {
    const window = text.slice(at, at + windowLength)
    if (seen.has(window) || keyboard.has(window) || hasEvenSteps(window)) predictable.fill(1, at, at + windowLength)
    seen.add(window)
  }
}

function markWords (text: string, predictable: Uint8Array): void {
  for (let at = 0; at + 3 <= text.length; at++) {
    for (const word of byBeginning.get(text.slice(at, at + 3)) ?? []) {
      if (text.startsWith(word, at)) predictable.fill(1, at, at + word.length)
    }
  }
}

function windowsOf (text: string): string[] {
  return Array.from({ length: text.length - windowLength + 1 }, (_, at) => text.slice(at, at + windowLength))
}

/** Returns true for `aaaaa`, `12345`, `zyxwv`, `02468`. */
function hasEvenSteps (window: string): boolean {
  const step = window.charCodeAt(1) - window.charCodeAt(0)
  for (let i = 2; i < windowLength; i++) {
    if (window.charCodeAt(i) - window.charCodeAt(i - 1) !== step) return false
  }
  return true
}
