import neostandard, { plugins } from 'neostandard'

const { plugin: typescript } = plugins['typescript-eslint']

export default [
  ...neostandard({
    ts: true,
    ignores: ['dist/**', '.bench/**', '.tap/**', 'coverage/**']
  }),
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
    // With types, which takes a program of TypeScript for each project: tests are left out, where tap awaits what nobody else does.
    name: 'house/types',
    files: ['lib/**/*.ts', 'types/**/*.ts', 'bench/**/*.ts', 'examples/**/*.ts'],
    plugins: { '@typescript-eslint': typescript },
    languageOptions: {
      parserOptions: { project: ['./tsconfig.bench.json', './examples/tsconfig.json'], tsconfigRootDir: import.meta.dirname }
    },
    rules: {
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': 'error',
      '@typescript-eslint/switch-exhaustiveness-check': 'error'
    }
  },
  {
    // A merged interface repeats every type parameter of the first, used or not.
    name: 'house/augmentation',
    files: ['types/fastify.ts', 'test/types/**/*.ts'],
    rules: { '@typescript-eslint/no-unused-vars': 'off' }
  }
]
