import js from '@eslint/js';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['dist/', 'build*/', 'coverage/', 'docs/api/'] },
  js.configs.recommended,
  {
    files: ['**/*.ts'],
    extends: [tseslint.configs.strictTypeChecked, tseslint.configs.stylisticTypeChecked],
    languageOptions: { parserOptions: { projectService: true } },
    rules: {
      // Numbers in messages are the everyday case here: fds, indexes, errno.
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      // What is only kept open until the end of a block.
      '@typescript-eslint/no-unused-vars': ['error', { ignoreUsingDeclarations: true }],
    },
  },
  {
    files: ['lib/**/*.ts'],
    // The stack of an error has who awaits a function only where that awaits in turn.
    rules: { '@typescript-eslint/return-await': ['error', 'always'] },
  },
  {
    files: ['lib/**/*.ts'],
    ignores: ['lib/cli/**'],
    rules: {
      // Their import alone takes time of every program that imports the package.
      '@typescript-eslint/no-restricted-imports': [
        'error',
        ...['buffer', 'fs', 'os', 'timers/promises', 'util', 'worker_threads'].map((name) => ({
          name: `node:${name}`,
          message: 'Take it as lib/core/builtins.ts does.',
          allowTypeImports: true,
        })),
      ],
    },
  },
  {
    files: ['test/**/*.ts'],
    rules: {
      // mocha's describe/it return nothing useful to await.
      '@typescript-eslint/no-floating-promises': [
        'error',
        {
          allowForKnownSafeCalls: [{ from: 'package', name: ['describe', 'it'], package: 'mocha' }],
        },
      ],
    },
  },
  {
    files: ['**/*.mjs', '**/*.js'],
    languageOptions: { globals: { process: 'readonly', console: 'readonly', URL: 'readonly' } },
  },
);
