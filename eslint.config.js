import neostandard from 'neostandard'

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
    // A merged interface repeats every type parameter of the first, used or not.
    name: 'house/augmentation',
    files: ['types/fastify.ts', 'test/types/**/*.ts'],
    rules: { '@typescript-eslint/no-unused-vars': 'off' }
  }
]
