import type { Test } from 'tap'

/** What a test file gets as `tap`, in a process that runs one file after the other: the test that stands for this file. */
let current: Test

export { current as default }

/** Has the next test file be part of a test. */
export const enter = (test: Test): void => {
  current = test
}
