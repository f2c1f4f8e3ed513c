// The floors of the house as rules: imports only go down (see docs). Paths are relative to the folder that is
// checked, so that each rule can also be tried on a small wrong example in test/boundaries/fixtures/<rule>.

const kit = '^src/platform/kit/'
const host = '^src/platform/host/'
const settings = '^src/modules/[^/]+/settings[.]ts$'
const contract = '^src/modules/[^/]+/contract[.]ts$'
const manifest = '^src/modules/[^/]+/module[.]ts$'
const app = '^src/app[.]ts$'
const programs = '^src/(main|worker|seam)[.]ts$'
const catalogue = '^src/modules/catalogue[.]ts$'

// Whatever carries calls, events or rows between processes belongs to the host.
const transports = [
  'node_modules/(undici|ioredis|bullmq|postgres|pg|amqplib|ws|@grpc/[^/]+|@bufbuild/[^/]+|@connectrpc/[^/]+)/',
  'node_modules/@fastify/(http-proxy|reply-from|redis|postgres|websocket)/',
  'node_modules/drizzle-orm/(postgres-js|node-postgres|migrator)',
  '^(node:)?(http|https|http2|net|tls|dgram|cluster|child_process)$',
]

const rule = (name, comment, from, to) => ({ name, comment, severity: 'error', from, to })

export default {
  forbidden: [
    rule(
      'module-keeps-to-itself',
      'A module imports its own files, the kit, and the contracts of other modules: anything more would not survive a split.',
      { path: '^src/modules/([^/]+)/' },
      { path: '^src/', pathNot: ['^src/modules/$1/', kit, contract] },
    ),
    rule(
      'module-names-no-transport',
      'A module cannot tell how a call, an event or a row travels: use app.call(), app.publish() and app.db instead. ' +
        "Services that are not part of this system are spoken to in one file, the module's outside.ts.",
      { path: '^src/modules/', pathNot: '^src/modules/[^/]+/outside[.]ts$' },
      { path: transports },
    ),
    rule(
      'manifest-is-cheap',
      'Every process imports every manifest, contract and settings, so these import statically contracts, settings, the kit ' +
        '(not its tables, which load drizzle) and typebox, and nothing else.',
      { path: [manifest, contract, settings] },
      { dynamic: false, pathNot: ['^src/platform/kit/(?!tables[.]ts$)', contract, settings, 'node_modules/typebox/'] },
    ),
    rule(
      'manifest-loads-its-plugin-only',
      "The one thing that a manifest loads, and only where the module is hosted, is its own module's plugin.ts.",
      { path: '^src/modules/([^/]+)/(module|contract)[.]ts$' },
      { dynamic: true, pathNot: '^src/modules/$1/plugin[.]ts$' },
    ),
    rule(
      'kit-is-the-ground',
      'The kit is the lowest floor: it imports nothing of the host, the modules or the app.',
      { path: kit },
      { path: '^src/', pathNot: kit },
    ),
    rule(
      'host-knows-no-domain',
      'The host gets contracts and manifests handed in as values. It imports the kit, never a module or the app.',
      { path: host },
      { path: '^src/', pathNot: [host, kit] },
    ),
    rule(
      'modules-come-by-catalogue',
      'The catalogue is the only door to the modules, so that the list of modules is in one place.',
      { path: '^src/[^/]+[.]ts$' },
      { path: '^src/modules/', pathNot: catalogue },
    ),
    rule(
      'catalogue-lists-manifests',
      'The catalogue imports manifests (and the kit for their type): whatever it imported beside them, every process would load.',
      { path: catalogue },
      { pathNot: [manifest, kit] },
    ),
    rule(
      'only-programs-import-app',
      'The app is the top floor: only main.ts and worker.ts (which serve) and seam.ts (which runs a task) start it.',
      { path: '^src/', pathNot: programs },
      { path: app },
    ),
    rule('nothing-imports-programs', 'Importing one would run it.', { path: '^src/' }, { path: programs }),
    rule(
      'no-cycles',
      'Files that import each other cannot be read, tested or moved one by one. Imports of types count.',
      { path: '^src/' },
      { circular: true },
    ),
    rule(
      'src-stands-alone',
      'What is shipped needs no tests, scripts or benchmarks.',
      { path: '^src/' },
      { path: '^(test|scripts|bench)/' },
    ),
    rule(
      'no-unresolvable',
      'An import that leads nowhere is checked by no other rule.',
      { path: '^src/' },
      { couldNotResolve: true },
    ),
    rule(
      'only-declared-dependencies',
      'In production only what package.json lists under dependencies is installed.',
      { path: '^src/' },
      { dependencyTypes: ['npm-dev', 'npm-no-pkg', 'npm-unknown'], dependencyTypesNot: ['type-only'] },
    ),
  ],
  options: {
    doNotFollow: { path: 'node_modules' },
    tsPreCompilationDeps: true,
    detectProcessBuiltinModuleCalls: true,
    enhancedResolveOptions: {
      exportsFields: ['exports'],
      conditionNames: ['import', 'require', 'node', 'default', 'types'],
    },
  },
}
