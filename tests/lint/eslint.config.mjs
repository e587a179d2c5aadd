import tseslint from 'typescript-eslint';

// AssemblyScript allows decorators on functions, which no TypeScript parser takes: blank them, keeping every position.
const decorator =
  /@(?:inline|lazy|unsafe|global|final|unmanaged|external|builtin|operator(?:\.\w+)?)(?:\([^()\n]*\))?/g;
const assemblyScript = {
  meta: { name: 'assemblyscript-decorators', version: '1' },
  preprocess: (text) => [text.replace(decorator, (match) => ' '.repeat(match.length))],
  postprocess: (messages) => messages.flat(),
  supportsAutofix: true,
};

const rules = {
  '@typescript-eslint/no-unused-vars': ['error', { argsIgnorePattern: '^_' }],
  '@typescript-eslint/no-explicit-any': 'error',
  'prefer-const': 'error',
  'no-fallthrough': 'error',
  eqeqeq: 'error',
};

export default [
  { ignores: ['dist/**', 'build/**', 'node_modules/**'] },
  {
    files: ['core-as/**/*.ts', 'tests/**/*.entry.ts'],
    processor: assemblyScript,
    languageOptions: { parser: tseslint.parser },
    plugins: { '@typescript-eslint': tseslint.plugin },
    rules,
  },
  {
    files: ['{devices,host-node,host-browser,tests,bench}/**/*.ts'],
    ignores: ['tests/**/*.entry.ts', '**/*.d.ts'],
    languageOptions: {
      parser: tseslint.parser,
      parserOptions: { project: new URL('../../tsconfig.json', import.meta.url).pathname },
    },
    plugins: { '@typescript-eslint': tseslint.plugin },
    rules: {
      ...rules,
      // A promise that nobody waits for is an unhandled rejection in waiting; `void` says that its errors are dealt with.
      '@typescript-eslint/no-floating-promises': 'error',
      '@typescript-eslint/no-misused-promises': [
        'error',
        { checksVoidReturn: { arguments: false, attributes: false } },
      ],
    },
  },
];
