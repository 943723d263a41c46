import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { blocksOf } from '../docs/blocks.js'
import { run } from './run.js'
import { root } from '../fixtures/root.js'

export const manifest = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))

/** The packed package, and an empty project with Fastify in which it is installed. */
export interface Packed {
  readonly stage: string
  readonly tarball: string
  readonly consumer: string
  /** How it was installed, for a comment of the test. */
  readonly installed: string
}

/**
 * Packs the package and installs it as a user would. The folder is outside of the checkout, whose node_modules would
 * otherwise provide dependencies that the package fails to declare.
 */
export async function packAndInstall (): Promise<Packed> {
  const stage = mkdtempSync(join(tmpdir(), 'fastify-gatehouse-'))
  const tarball = join(stage, `fastify-gatehouse-${String(manifest.version)}.tgz`)
  const consumer = join(stage, 'consumer')
  await pack(stage)
  return { stage, tarball, consumer, installed: await install(tarball, consumer) }
}

/** Packs a copy, so that `dist` in the checkout is not changed. */
async function pack (stage: string): Promise<void> {
  const project = join(stage, 'package')
  mkdirSync(project)
  const configuration = ['package.json', 'tsconfig.json', 'tsconfig.build.json', '.ci/build.js', '.ci/module-url.js']
  const parts = ['lib', 'types', 'docs', ...configuration, 'LICENSE', 'README.md']
  for (const part of parts.filter(each => existsSync(join(root, each)))) {
    cpSync(join(root, part), join(project, part), { recursive: true })
  }
  symlinkSync(join(root, 'node_modules'), join(project, 'node_modules'))
  const { code, output } = await run('npm', ['pack', '--pack-destination', stage], project)
  if (code !== 0) throw new Error(`npm pack failed:\n${output}`)
}

/** Creates the project, and links the packages by hand if no registry is available. */
async function install (tarball: string, consumer: string): Promise<string> {
  const fastify = JSON.parse(readFileSync(join(root, 'node_modules/fastify/package.json'), 'utf8')).version
  mkdirSync(consumer)
  writeFileSync(
    join(consumer, 'package.json'),
    JSON.stringify({ name: 'consumer', version: '1.0.0', private: true, type: 'module' })
  )
  const { code, output } = await npmInstall(consumer, [tarball, `fastify@${String(fastify)}`])
  if (code === 0) return 'by npm'
  if (!/ENOTCACHED|ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ECONNRESET|ETIMEDOUT|ENETUNREACH/.test(output)) {
    throw new Error(`npm install failed:\n${output}`)
  }
  await link(tarball, consumer)
  return 'by hand, because no registry answered'
}

export async function npmInstall (consumer: string, packages: readonly string[]): ReturnType<typeof run> {
  const options = ['--prefer-offline', '--no-audit', '--no-fund', '--fetch-retries=0']
  return await run('npm', ['install', ...options, ...packages], consumer)
}

async function link (tarball: string, consumer: string): Promise<void> {
  rmSync(join(consumer, 'node_modules'), { recursive: true, force: true })
  mkdirSync(join(consumer, 'node_modules/@fastify'), { recursive: true })
  for (const name of ['fastify', ...Object.keys(manifest.dependencies)]) {
    symlinkSync(join(root, 'node_modules', name), join(consumer, 'node_modules', name))
  }
  const { code, output } = await run('tar', ['-xzf', tarball, '-C', join(consumer, 'node_modules')], consumer)
  if (code !== 0) throw new Error(`the tarball does not open:\n${output}`)
  const unpacked = join(consumer, 'node_modules/package')
  cpSync(unpacked, join(consumer, 'node_modules/fastify-gatehouse'), { recursive: true })
  rmSync(unpacked, { recursive: true })
}

/** Returns the content of a file on a page: the block that begins with its name. */
export function shownFile (page: string, name: string): string {
  const block = blocksOf(page).find(each => each.code.startsWith(`// ${name}\n`))
  if (block === undefined) throw new Error(`${page} shows no ${name}`)
  return block.code
}
