export type Semantics = (...operands: never[]) => void;
