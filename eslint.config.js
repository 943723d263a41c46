import neostandard from 'neostandard'

export default [
  ...neostandard({
    ts: true,
    ignores: ['dist/**', 'bench/.build/**', '.tap/**', 'coverage/**']
  }),
  {
    name: 'house/lines',
    files: ['lib', 'types', 'test', 'bench', 'examples', '.ci'].flatMap(
      folder => [`${folder}/**/*.ts`, `${folder}/**/*.js`]
    ),
    rules: { '@stylistic/max-len': ['error', { code: 120, ignoreUrls: true, ignoreRegExpLiterals: true }] }
  },
  {
    name: 'house/typescript',
    files: ['lib/**/*.ts', 'types/**/*.ts'],
    rules: {
      '@typescript-eslint/no-explicit-any': 'error',
      '@typescript-eslint/no-non-null-assertion': 'error',
      'no-console': 'error',
      // Credentials and return paths are refused for their control characters: naming those is the point.
      'no-control-regex': 'off'
    }
  },
  {
    // `void` marks a promise that nobody awaits, because it handles its own errors. Oxlint checks promises with types.
    name: 'house/promises',
    files: ['lib/**/*.ts', 'types/**/*.ts', 'bench/**/*.ts', 'examples/**/*.ts'],
    rules: { 'no-void': ['error', { allowAsStatement: true }] }
  },
  {
    // A merged interface repeats every type parameter of the first, used or not.
    name: 'house/augmentation',
    files: ['types/fastify.ts', 'test/types/**/*.ts'],
    rules: { '@typescript-eslint/no-unused-vars': 'off' }
  }
]
