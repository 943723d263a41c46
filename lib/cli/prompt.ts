import { StringDecoder } from 'node:string_decoder'
import { Failure, type Terminal } from './terminal.js'

const interrupt = '\u0003'
const endOfInput = '\u0004'
const eraseLine = '\u0015'

/**
 * Asks several questions at a terminal without echoing the answers. Echo is off before the first question is written and
 * until the last one is answered.
 * @throws {Failure} if the person interrupts it, with exit code 130, as shells do.
 */
export function askHidden (questions: readonly [string, ...string[]], { stdin, stderr }: Pick<Terminal, 'stdin' | 'stderr'>): Promise<readonly string[]> {
  const decoder = new StringDecoder('utf8')
  const answers: string[] = []
  let line = ''
  stdin.setRawMode(true)
  stderr.write(questions[0])
  return new Promise((resolve, reject) => {
    function finish (): void {
      stdin.off('data', take)
      stdin.off('end', breakOff)
      stdin.setRawMode(false)
      stdin.pause()
      stderr.write('\n')
    }

    function breakOff (): void {
      finish()
      reject(new Failure('Nothing was hashed.', 130))
    }

    function answered (): void {
      answers.push(line)
      line = ''
      if (answers.length < questions.length) {
        stderr.write(`\n${questions[answers.length]}`)
        return
      }
      finish()
      resolve(answers)
    }

    function take (chunk: Buffer): void {
      for (const character of decoder.write(chunk).replaceAll('\r\n', '\n')) {
        if (answers.length === questions.length) return
        if (character === interrupt || (character === endOfInput && line === '')) return breakOff()
        if (character === '\r' || character === '\n' || character === endOfInput) answered()
        else line = edited(line, character)
      }
    }

    stdin.on('data', take)
    stdin.on('end', breakOff)
    stdin.resume()
  })
}

function edited (line: string, character: string): string {
  if (character === eraseLine) return ''
  if (character === '\u007f' || character === '\b') return [...line].slice(0, -1).join('')
  return line + character
}
