import { PLACEMENTS, testPlacements } from './placements.ts'

await testPlacements(
  'postgres',
  PLACEMENTS.filter((outside) => outside.length === 3),
  'grpc',
)
