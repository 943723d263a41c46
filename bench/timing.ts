import { keyQuestions } from './timing/keys.js'
import { passwordQuestions } from './timing/passwords.js'
import { ask, kept, warmUp, type Figures, type Question } from './timing/question.js'
import { sessionQuestions } from './timing/sessions.js'

/**
 * Tests whether the time of a refusal reveals its kind: samples two kinds in random order, and computes Welch's t of
 * their times. With |t| below 4.5, this many samples cannot tell them apart. A higher value in one run may come from
 * the machine, but not one that recurs with the same sign and size, so every question is asked in several runs.
 *
 * `npm run bench timing`; `RUNS=3`, `FAST=20000` and `SLOW=1000` samples of each kind a run, `ONLY=basic` for some.
 */
const runs = Number(process.env.RUNS ?? 3)
const samples = { fast: Number(process.env.FAST ?? 20_000), slow: Number(process.env.SLOW ?? 1000) }
const only = new RegExp(process.env.ONLY ?? '', 'i')

async function row (question: Question): Promise<string> {
  const { name, kinds, pace } = question
  const figures: Figures[] = []
  for (let run = 0; run < runs; run++) figures.push(await ask(question, samples[pace]))
  const means = Object.keys(kinds).map(
    (kind, at) => `${kind} ${figures.map(({ means }) => (means[at] ?? NaN).toFixed(2)).join(' / ')}`
  )
  return `| ${name} | ${samples[pace]} | ${means.join(' | ')} | ${figures.map(({ t }) => t.toFixed(2)).join(' / ')} |`
}

/** Made one group after the other, so that none fills the heap that another is measured on. */
const groups = [passwordQuestions, () => keyQuestions((samples.fast + warmUp.fast) * runs), sessionQuestions]

console.log(`Node ${process.version}, ${runs} runs, interleaved; µs, of which the fastest ${kept * 100} % count\n`)
console.log('| question | samples of each kind, a run | µs | µs | Welch t |')
console.log('|---|---:|---:|---:|---:|')
for (const make of groups) {
  for (const question of await make()) if (only.test(question.name)) console.log(await row(question))
}
