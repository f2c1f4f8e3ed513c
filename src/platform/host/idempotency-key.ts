/** Whether a text can be an idempotency key: 1 to 255 characters of ASCII that can be seen. */
export const isIdempotencyKey = (key: string): boolean => /^[\x21-\x7e]{1,255}$/.test(key)
