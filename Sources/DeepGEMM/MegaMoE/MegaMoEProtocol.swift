// SPDX-License-Identifier: MIT

/// When a rank may go on: numbers that only grow, one word for each rank and way, no clock and no memory.
///
/// Operation n begins at a rank with its own "ready n", behind tokens and lists. Who has all ranks' "ready n" may read
/// their tokens and write their slots, and says "done n" at the end, in steps. Who has all ranks' "done n" adds its
/// slots up, and may then write tokens and lists of operation n + 1: nobody reads those of n any more, and nobody
/// writes slots of n + 1 before its next "ready".
package struct MegaMoEProtocol {
    /// Steps of an operation are counted below this.
    package static let stepLimit: UInt64 = 1 << 20

    /// The number of the operation that has begun last; 0 before the first.
    package private(set) var operation: UInt64 = 0
    private var step: UInt64 = 0

    package init() {}

    /// Begins the next operation.
    ///
    /// - Returns: what `readyWord` is set to at all ranks.
    package mutating func begin() -> UInt64 {
        operation += 1
        step = 0
        return operation
    }

    /// One more part is done.
    ///
    /// - Returns: what `doneWord` is set to at all ranks.
    package mutating func advance() -> UInt64 {
        step = min(step + 1, Self.stepLimit - 2)
        return operation * Self.stepLimit + step
    }

    /// All is done.
    package func finish() -> UInt64 { operation * Self.stepLimit + Self.stepLimit - 1 }

    /// Whether a rank with this "ready" word shows its tokens of the operation.
    package func isReady(_ word: UInt64) -> Bool { word >= operation }
    /// Whether a rank with this "done" word has finished with this rank's tokens.
    package func isDone(_ word: UInt64) -> Bool { word >= finish() }
}
