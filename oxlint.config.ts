import {defineConfig, type OxlintOverride} from 'oxlint'

/** Each outside package has one home, so that changing it is a change in one place. */
export const homes: Readonly<Record<string, readonly string[]>> = {
  '@oclif/core': ['src/commands/**', 'src/hooks/**', 'src/command.ts'],
  listr2: ['src/steps/run.ts'],
  execa: ['src/tools/shell.ts'],
  handlebars: ['src/templates.ts'],
  '@inquirer/prompts': ['src/tools/ask.ts'],
  zod: [
    'src/fleet/**',
    'src/destinations/**',
    'src/tools/queue-admin.ts',
    'src/loadtest/profile.ts',
    'src/components/charts.ts',
    'src/programs/catalogue.ts',
  ],
  yaml: ['src/fleet/**', 'src/components/charts.ts', 'src/programs/catalogue.ts', 'src/templates.ts', 'src/tools/kube/kubeconfig.ts'],
  '@kubernetes/client-node': ['src/tools/kube/connection.ts', 'src/tools/kube/socket.ts'],
  openpgp: ['src/tools/openpgp.ts'],
  jose: ['src/tools/jose.ts'],
  '@scure/bip39': ['src/trust/invite.ts'],
  'node-vault': ['src/tools/vault.ts'],
  '@peculiar/x509': ['src/tools/x509.ts'],
  'reflect-metadata': ['src/tools/x509.ts'],
  chalk: ['src/output.ts'],
  diff: ['src/upgrade/manifests.ts'],
  'tar-stream': ['src/images/archive.ts'],
  echarts: ['src/loadtest/report/drawing.ts'],
}

/** commands → plans → steps → tools: an arrow may skip a layer, never turn back. */
const above: Readonly<Record<string, readonly string[]>> = {
  'src/**': ['commands'],
  'src/plans/**': ['commands'],
  'src/steps/**': ['plans', 'commands'],
  'src/tools/**': ['plans', 'steps', 'commands', 'components', 'platforms', 'verify'],
}

const folder = (glob: string) => glob.replace(/[^/]*$/, '')
const layerOf = (place: string) =>
  Object.entries(above)
    .filter(([layer]) => place.startsWith(folder(layer)))
    .at(-1)?.[1] ?? []

/** What may not be imported at a place: the packages that live elsewhere, and the layers above. */
const restricted = (place: string): OxlintOverride => {
  const elsewhere = Object.entries(homes).filter(([, at]) => !at.includes(place))
  return {
    files: [place],
    rules: {
      'no-restricted-imports': [
        'error',
        {
          patterns: [
            ...elsewhere.map(([name, at]) => ({group: [name, `${name}/*`], message: `${name} lives in ${at.join(', ')}.`})),
            ...layerOf(place).map((layer) => ({
              regex: `^\\.{1,2}/(.*/)?${layer}(/|\\.ts$)`,
              message: `${layer}/ is a layer above: arrows never turn back.`,
            })),
          ],
        },
      ],
    },
  }
}

// where several entries match a file, the last one counts: layers first, then the homes inside them
const places = new Set([...Object.keys(above), ...Object.values(homes).flat()])

export default defineConfig({
  plugins: ['typescript', 'unicorn', 'oxc', 'import', 'promise', 'vitest'],
  categories: {correctness: 'error', suspicious: 'error'},
  options: {reportUnusedDisableDirectives: 'error'},
  ignorePatterns: ['dist/**', 'test/fixtures/**'],
  rules: {
    'vitest/valid-expect': ['error', {maxArgs: 2}],
    'typescript/no-floating-promises': 'error',
    'typescript/no-misused-promises': 'error',
    'typescript/no-explicit-any': 'error',
    'typescript/no-non-null-assertion': 'error',
    'typescript/consistent-type-imports': 'error',
    'no-restricted-properties': [
      'error',
      ...['mock', 'doMock'].map((property) => ({object: 'vi', property, message: 'Pass a fake in; modules are not replaced.'})),
    ],
    // a step, a wait and a retry are taken in order
    'no-await-in-loop': 'off',
    // what comes from YAML, JSON and Vault is named once, where it enters
    'typescript/no-unsafe-type-assertion': 'off',
    'typescript/no-unnecessary-type-parameters': 'off',
    // tools are closures, not classes: there is no `this` to lose, and no need to hoist
    'typescript/unbound-method': 'off',
    'unicorn/consistent-function-scoping': 'off',
    'typescript/no-misused-spread': ['error', {allow: ['string']}],
    // listr2 declares its loggers with enums that do not fit each other
    'typescript/no-unsafe-enum-assignment': 'off',
  },
  overrides: [...places].map(restricted),
})
