import { keyQuestions } from './timing/keys.js'
import { passwordQuestions } from './timing/passwords.js'
import { ask, kept, warmUp, type Figures, type Question } from './timing/question.js'
import { sessionQuestions } from './timing/sessions.js'

/**
 * Whether time tells what an answer does not: two kinds of refusal, sampled in random order, and Welch's t of their
 * times. |t| below 4.5 says that this many samples cannot tell them apart. One run in which it is more may be the
 * machine's; a sign and a size that come again are not, so every question is asked in several runs.
 *
 * `npx tsc -p tsconfig.bench.json && node .bench/bench/timing.js`; `RUNS=3`, `FAST=20000` and `SLOW=1000` samples of
 * each kind a run, `ONLY=basic` for some.
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
