import { spawn } from 'node:child_process'
import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { typescript } from '../fixtures/programs.js'

const root = fileURLToPath(new URL('../../', import.meta.url))

/** `npx fastify-gatehouse` for the pages: runs the command line of this checkout. */
const npx = `#!/bin/sh
[ "$1" = fastify-gatehouse ] || { echo "npx $1 is not on this stage" >&2; exit 1; }
shift
exec "${process.execPath}" "${typescript}" "${join(root, 'lib/cli/main.ts')}" "$@"
`

/** The application that the commands on the pages name. */
const application = `
import Fastify from 'fastify'
import authPlugin, { apiKey } from 'fastify-gatehouse'

export default async function build () {
  const app = Fastify()
  await app.register(authPlugin, { schemes: { service: apiKey({ verify: () => null }) } })
  app.get('/orders', async () => [])
  return app
}
`

export interface Shell {
  readonly code: number | null
  readonly output: string
}

/** Prepares a folder in which the `sh` blocks of a page run one after another. */
export function prepareShell (folder: string): void {
  for (const name of ['bin', 'dist', 'src']) mkdirSync(join(folder, name), { recursive: true })
  writeFileSync(join(folder, 'bin/npx'), npx)
  chmodSync(join(folder, 'bin/npx'), 0o755)
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }')
  writeFileSync(join(folder, 'dist/app.js'), application)
  writeFileSync(join(folder, 'src/app.ts'), application)
  writeFileSync(join(folder, 'password.txt'), 'correct horse battery\n')
}

/** Runs a script as if a reader pasted it, and stops at the first command that fails. */
export async function runShell (script: string, folder: string): Promise<Shell> {
  const { NODE_OPTIONS, NODE_ENV, ...environment } = process.env
  const child = spawn('sh', ['-e', '-c', script], {
    cwd: folder,
    env: {
      ...environment,
      PATH: `${join(folder, 'bin')}${delimiter}${process.env.PATH ?? ''}`,
      TSX_TSCONFIG_PATH: join(root, 'tsconfig.json')
    },
    stdio: ['ignore', 'pipe', 'pipe']
  })
  let output = ''
  for (const stream of [child.stdout, child.stderr]) stream.on('data', chunk => { output += String(chunk) })
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject)
    child.once('close', resolve)
  })
  return { code, output }
}
