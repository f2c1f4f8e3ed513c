/**
 * A message may be larger than the JSON that it was made of, which is what `MAX_INPUT` and `MAX_OUTPUT` count: a number of
 * one digit and a comma are eight bytes as a double.
 */
export const LARGER = 4
