/** Steps of an axis that counts: no two of its marks are the same number. */
export const WHOLE: readonly number[] = [1, 2, 5].flatMap((n) => Array.from({ length: 10 }, (_, e) => n * 10 ** e)).sort((a, b) => a - b)
