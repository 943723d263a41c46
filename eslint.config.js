import neostandard, { plugins } from 'neostandard'

const { plugin: typescript } = plugins['typescript-eslint']

export default [
  ...neostandard({
    ts: true,
    ignores: ['dist/**', '.bench/**', '.tap/**', 'coverage/**']
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
    // Tests are left out: tap runs what nobody awaits there.
    name: 'house/types',
    files: ['lib/**/*.ts', 'types/**/*.ts', 'bench/**/*.ts', 'examples/**/*.ts'],
    plugins: { '@typescript-eslint': typescript },
    languageOptions: {
      parserOptions: { project: './tsconfig.lint.json', tsconfigRootDir: import.meta.dirname }
    },
    rules: {
      // `void` marks a promise that nobody awaits, because it handles its own errors.
      '@typescript-eslint/no-floating-promises': 'error',
      'no-void': ['error', { allowAsStatement: true }],
      // A hook of Fastify may return a promise or call done.
      '@typescript-eslint/no-misused-promises': ['error', { checksVoidReturn: { returns: false } }],
      '@typescript-eslint/switch-exhaustiveness-check': ['error', { considerDefaultExhaustiveForUnions: true }]
    }
  },
  {
    // A merged interface repeats every type parameter of the first, used or not.
    name: 'house/augmentation',
    files: ['types/fastify.ts', 'test/types/**/*.ts'],
    rules: { '@typescript-eslint/no-unused-vars': 'off' }
  }
]
