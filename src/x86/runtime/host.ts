// What the runtime asks of JavaScript: devices, the local APIC's registers, time and randomness, and dropping
// decoded instructions. Physical addresses travel as f64 (exact below 2^53; ours have 40 bits).

/** Device access, `size` 1, 2 or 4, naturally aligned; the value is zero-extended. */
export declare function host_mmioRead(pa: f64, size: i32): i32;
export declare function host_mmioWrite(pa: f64, size: i32, value: i32): void;
/** I/O port access, `size` 1, 2 or 4. */
export declare function host_portRead(port: i32, size: i32): i32;
export declare function host_portWrite(port: i32, size: i32, value: i32): void;
/** A line with guest code was written: drop what was decoded from [offset, offset + size) of this page. */
export declare function host_invalidate(pfn: i32, offset: i32, size: i32): void;
/** Ticks of the 1 GHz time stamp counter. */
export declare function host_tsc(): f64;
/** 32 random bits. */
export declare function host_random(): i32;
/** MSRs outside the processor core (local APIC): value in MSR_LOW/MSR_HIGH; 0 = there is no such MSR. */
export declare function host_msrRead(index: i32): i32;
export declare function host_msrWrite(index: i32): i32;
/** Task priority, 0..15. */
export declare function host_cr8Read(): i32;
export declare function host_cr8Write(value: i32): void;
/** The guest used something that is not implemented (UNSUPPORTED_*): warn once by name. */
export declare function host_unsupported(what: i32, detail: i32): void;
/** An x87 exception with CR0.NE clear: FERR#, which a PC turns into IRQ 13. */
export declare function host_ferr(): void;
/** Accesses that a region checks together lie across a page's border, or write where code is. */
export declare function host_scattered(region: i32): void;
