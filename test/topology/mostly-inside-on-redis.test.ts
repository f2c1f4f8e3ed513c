import { PLACEMENTS, testPlacements } from './placements.ts'

await testPlacements(
  'redis',
  PLACEMENTS.filter((outside) => outside.length < 2),
)
