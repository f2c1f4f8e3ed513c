// `npm run licences`: what the image contains besides Seam, by licence. Ends with 1 when one of them is not known to be good for
// everybody who may run Seam.
import { execFile } from 'node:child_process'
import { promisify } from 'node:util'

const GOOD = [
  '0BSD',
  'Apache-2.0',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'CC0-1.0',
  'ISC',
  'MIT',
  'MIT-0',
  'MPL-2.0',
  'Public domain',
  'Python-2.0',
  'Unlicense',
]

/** What says in its own files what it does not say in its package.json; looked up by hand. */
const KNOWN: Record<string, string> = { jsonify: 'Public domain' }

interface Component {
  name: string
  version: string
  licenses?: { license?: { id?: string; name?: string }; expression?: string }[]
}

const { stdout } = await promisify(execFile)(
  'npm',
  ['sbom', '--omit=dev', '--omit=optional', '--sbom-format=cyclonedx'],
  { maxBuffer: 1 << 26 },
)
const { components } = JSON.parse(stdout) as { components: Component[] }
const licenceOf = ({ name, licenses = [] }: Component) =>
  licenses.map(({ license, expression }) => expression ?? license?.id ?? license?.name).join(' AND ') ||
  KNOWN[name] ||
  'unknown'
const isGood = (licence: string) =>
  licence
    .replace(/[()]/g, '')
    .split(/ OR /)
    .some((part) => part.split(' AND ').every((id) => GOOD.includes(id)))

const byLicence = Map.groupBy(components, licenceOf)
for (const [licence, packages] of [...byLicence].sort())
  console.log(
    `${licence}${isGood(licence) ? '' : '  ← not known to be good'}\n  ${packages
      .map(({ name, version }) => `${name}@${version}`)
      .sort()
      .join('\n  ')}`,
  )
process.exitCode = [...byLicence.keys()].every(isGood) ? 0 : 1
