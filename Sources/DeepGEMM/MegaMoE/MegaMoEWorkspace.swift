// SPDX-License-Identifier: MIT

internal import Platform
internal import Synchronization
internal import Tensors

/// Memory that `megaMoE` computes in, kept from call to call: it grows to what a call needs and never shrinks.
///
/// A call needs for each token of a block and each slot 2 · hidden bytes for the slot and 20 for lists, and for each of
/// up to 2048 rows of a wave `intermediate` numbers with their scales. A block has as many tokens as keep the slots
/// within `slotBytes`, and one at least.
public final class MegaMoEWorkspace: Sendable {
    /// Bytes of the slots of a block of tokens, at most.
    public static let slotBytes = 512 << 20

    private let memory = Mutex<AlignedBuffer<UInt8>?>(nil)

    public init() {}

    /// Bytes that it has grown to.
    public var byteCount: Int { memory.withLock { $0?.count ?? 0 } }

    /// Lends so many bytes to one call at a time, beginning at a page.
    func withMemory(
        byteCount: Int, _ body: (UnsafeMutableRawPointer) throws(FathomError) -> Void
    ) throws(FathomError) {
        let outcome = memory.withLock { buffer in
            Result { () throws(FathomError) in
                if buffer?.count ?? -1 < byteCount {
                    buffer = nil
                    buffer = try AlignedBuffer(count: byteCount, purpose: "the workspace of experts")
                }
                // SAFETY: lent while the lock is held.
                if let buffer { try body(UnsafeMutableRawPointer(buffer.baseAddress)) }
            }
        }
        try outcome.get()
    }
}

/// How a block's workspace is divided.
struct MegaMoELayout {
    var rowCount: Int
    var betweenBytes: Int
    var slotBytes: Int

    private static func aligned(_ count: Int) -> Int { (count + 63) / 64 * 64 }

    var placesOffset: Int { Self.aligned(8 * rowCount) }
    var weightsOffset: Int { placesOffset + Self.aligned(8 * rowCount) }
    var betweenOffset: Int { weightsOffset + Self.aligned(4 * rowCount) }
    var slotsOffset: Int { betweenOffset + Self.aligned(betweenBytes) }
    var byteCount: Int { slotsOffset + slotBytes }
}
