import { testPlacements } from './placements.ts'

await testPlacements('postgres')
