/** The version of this program: package.json's, checked by a test. */
export const VERSION = '0.1.0';
