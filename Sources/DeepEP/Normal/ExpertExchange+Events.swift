// SPDX-License-Identifier: MIT

public import Platform
internal import Synchronization

/// Operations that return at once and run on a communication worker; DeepEP's `async_finish` and `previous_event`.
///
/// Operations of an exchange run one after another in the order in which they were begun, with those that are not begun
/// but called. All ranks begin and call the same ones in the same order. An operation's arguments must not change until
/// it has ended, but for what it waits for: rows are read only once `previous` has completed. An error of `previous`
/// is the operation's error.
extension ExpertExchange {
    /// What a dispatch makes.
    public typealias Dispatched = (tokens: ReceivedTokens, handle: DispatchHandle)

    /// Begins `dispatch(_:_:reusing:)`.
    ///
    /// - Throws: `usage` if too many operations are pending, `unavailable` without a thread; nothing was begun then.
    ///   Everything else is told by `PendingExchange.wait`.
    public func beginDispatch(
        _ rows: TokenRows, _ selection: TopKSelection, reusing handle: DispatchHandle? = nil,
        previous: ExchangeEvent? = nil
    ) throws(FathomError) -> PendingExchange<Dispatched> {
        try begin(after: previous) { exchange throws(FathomError) in
            try exchange.performDispatch(rows, selection, reusing: handle)
        }
    }

    /// Begins `combine(_:handle:options:)`; throws as `beginDispatch`.
    public func beginCombine(
        _ returned: TokenRows, handle: DispatchHandle, options: CombineOptions = CombineOptions(),
        previous: ExchangeEvent? = nil
    ) throws(FathomError) -> PendingExchange<CombinedTokens> {
        try begin(after: previous) { exchange throws(FathomError) in
            try exchange.performCombine(returned, handle, options, inPlace: false)
        }
    }

    /// Begins `combineReturnArea(handle:options:)`; throws as `beginDispatch`.
    public func beginCombineReturnArea(
        handle: DispatchHandle, options: CombineOptions = CombineOptions(), previous: ExchangeEvent? = nil
    ) throws(FathomError) -> PendingExchange<CombinedTokens> {
        try begin(after: previous) { exchange throws(FathomError) in
            try exchange.performCombineReturnArea(handle, options)
        }
    }

    /// Begins `combineChoices(_:expanded:handle:weighted:)`; throws as `beginDispatch`.
    public func beginCombineChoices(
        _ returned: TokenRows, expanded: ExpandedTokens, handle: DispatchHandle, weighted: Bool,
        previous: ExchangeEvent? = nil
    ) throws(FathomError) -> PendingExchange<CombinedTokens> {
        try begin(after: previous) { exchange throws(FathomError) in
            try exchange.performChoices(returned, expanded, handle, weighted: weighted, take: nil)
        }
    }

    private func begin<Value: Sendable>(
        after previous: ExchangeEvent?,
        _ operation: @escaping @Sendable (ExpertExchange) throws(FathomError) -> Value
    ) throws(FathomError) -> PendingExchange<Value> {
        let pending = PendingExchange<Value>(giveUp: { [weak self] in self?.giveUp() })
        let before = lastBegun.withLock { $0 }
        try workers.submit { [self] in
            do throws(FathomError) {
                // Another operation's error is its own; the exchange remembers it.
                do throws(FathomError) { try before?.wait() } catch {
                    if before?.isComplete != true { throw error }
                }
                if let previous { try awaitPrevious(previous) }
                pending.finish(.success(try operation(self)))
            } catch {
                pending.finish(.failure(error))
            }
        }
        lastBegun.withLock { $0 = pending.event }
        return pending
    }

    /// Waits until input is ready; without it the others learn that this operation is not to be.
    private func awaitPrevious(_ previous: ExchangeEvent) throws(FathomError) {
        let deadline = ContinuousClock.now + .milliseconds(timeoutMilliseconds)
        do throws(FathomError) {
            while true {
                do throws(FathomError) {
                    return try previous.wait(timeoutMilliseconds: Self.previousSliceMilliseconds)
                } catch {
                    if previous.isComplete { throw error }
                }
                try checkCancelled()
                guard ContinuousClock.now < deadline else {
                    throw FathomError(
                        .unavailable, "rank \(rank) waited \(timeoutMilliseconds) ms for an exchange's previous event")
                }
            }
        } catch {
            fail(error)
            throw error
        }
    }

    /// How long an operation that waits for its input does not notice that it was given up.
    private static let previousSliceMilliseconds = 20

    /// Waits until everything that was begun has ended; an error is told where it is waited for.
    func awaitBegun() throws(FathomError) {
        guard let last = lastBegun.withLock({ $0 }) else { return }
        do throws(FathomError) { try last.wait() } catch {
            if !last.isComplete { throw error }
        }
    }
}
