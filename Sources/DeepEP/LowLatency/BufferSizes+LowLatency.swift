// SPDX-License-Identifier: MIT

extension BufferSizes {
    /// Address space that a `LowLatencyExchange` shares at each rank; what is never used costs no memory.
    public static func lowLatencyExchange(_ shape: LowLatencyShape) -> Int { LowLatencyMemory(shape).byteCount }
}
