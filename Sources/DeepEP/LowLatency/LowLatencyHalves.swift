// SPDX-License-Identifier: MIT

public import Platform
public import Tensors

/// A dispatch that has been sent: anything may be done before it is received.
public struct SentDispatch {
    let exchange: LowLatencyExchange
    let operation: Int

    /// Waits for the tokens of this rank's experts.
    ///
    /// - Throws: `usage` if they have been received already, `unavailable` naming a rank that is lost or does not come.
    public func receive() throws(FathomError) -> LowLatencyTokens { try exchange.receiveDispatch(operation) }
}

/// A combine that has been sent: anything may be done before it is received.
public struct SentCombine {
    let exchange: LowLatencyExchange
    let operation: Int

    /// Waits for what comes back to this rank's tokens and sums it; the operation's memory is free then.
    ///
    /// - Parameter output: memory for the sums, [tokens, hidden] BF16; new memory where left out.
    /// - Throws: `usage` if it has been received already or `output` is too small, `unavailable` naming a rank that is
    ///   lost or does not come.
    public func receive(into output: AlignedBuffer<UInt8>? = nil) throws(FathomError) -> CombinedTokens {
        try exchange.receiveCombine(operation, into: output)
    }
}
