/** What is wrong with a line that was typed: the text is printed as it is, with a hint at `help`. */
export class HmpError extends Error {
  /** The hint follows: the command was known, its arguments were not understood. */
  readonly hint: boolean;

  constructor(message: string, hint = true) {
    super(message);
    this.hint = hint;
  }
}
