// SPDX-License-Identifier: MIT

internal import Logging
internal import Platform
internal import Ranks

/// What every rank of an expert-parallel model has: the model, the shared cache and the exchange.
///
/// Every rank maps the whole checkpoint and multiplies only with the experts that it is given, so a change of places
/// moves no bytes between ranks: pages come from the page cache. Where ranks share memory the KV cache is one for all,
/// so that any rank can run any sequence, and a lost rank loses no sequence. Elsewhere each has its own, and blocks are
/// sent where they are wanted; see `CacheDirectory`.
final class ExpertParallelMember: Sendable {
    /// Tokens of one call of the exchange at most.
    private static let maximumSlabTokens = 1024
    /// 32-bit words of a step's message at most.
    private static let maximumStepWords = 1 << 20
    /// Rows of logits of one rank in one step at most.
    static let maximumLogitsRows = 256
    /// How long a rank waits for another inside a step before it gives up. Hung ranks are noticed much earlier; this is
    /// for one that lives and does not come.
    private static let exchangeTimeoutMilliseconds = 600_000

    let group: RankGroup
    let model: DeepSeekExecutor
    let layout: StepLayout
    let region: SymmetricRegion
    let exchange: LayerExchange
    /// Whether this rank's cache is its own.
    let hasOwnCache: Bool
    /// The cache's memory; its signals say that a rank has sent blocks.
    private let cacheRegion: SymmetricRegion

    /// Every rank calls it with the same folder and options.
    ///
    /// - Parameter ownCaches: whether each rank has a cache of its own even if ranks share memory.
    /// - Throws: what is wrong with the folder, or a rank that is lost, has another checkpoint or other options.
    init(
        group: RankGroup, folder: String, options: DeepSeekExecutor.Options, ownCaches: Bool, logger: Logger,
        progress: (@Sendable (_ done: Int, _ total: Int) -> Void)?
    ) throws(FathomError) {
        self.group = group
        let hasOwnCache = ownCaches || !group.sharesMemory
        self.hasOwnCache = hasOwnCache
        guard !hasOwnCache || group.rankCount <= CacheDirectory.maximumRankCount else {
            throw FathomError(
                .usage,
                "\(group.rankCount) ranks with caches of their own; up to \(CacheDirectory.maximumRankCount) are legal")
        }
        try Self.checkAgreement(group, folder, options)
        var options = options
        options.cacheTokens = try Self.agreedCacheTokens(group, folder, options, hasOwnCache: hasOwnCache)
        var region: SymmetricRegion?
        model = try DeepSeekExecutor(
            folder: folder, options: options,
            cacheMemory: { (byteCount) throws(FathomError) in
                let made = try group.symmetricRegion(byteCount: byteCount, signalCount: group.rankCount)
                region = made
                return hasOwnCache ? made.local : made.peer(0)
            }, logger: logger, progress: progress)
        guard let region else { throw FathomError(.internal, "the model made no cache") }
        cacheRegion = region
        let configuration = model.configuration
        layout = StepLayout(
            stepWords: Self.maximumStepWords, logitsRows: Self.maximumLogitsRows,
            vocabularySize: configuration.vocabularySize,
            countsLength: configuration.layerCount * max(configuration.routedExpertCount, 1),
            rankCount: group.rankCount)
        self.region = try group.symmetricRegion(byteCount: layout.byteCount, signalCount: layout.signalCount)
        exchange = try LayerExchange(
            group: group, configuration: configuration, codings: model.expertCodings,
            slabTokens: min(Self.maximumSlabTokens, ForwardPass.slabTokens(configuration)),
            timeoutMilliseconds: Self.exchangeTimeoutMilliseconds)
    }

    /// - Throws: `configuration` naming a rank whose checkpoint or options differ.
    private static func checkAgreement(
        _ group: RankGroup, _ folder: String, _ options: DeepSeekExecutor.Options
    ) throws(FathomError) {
        // What is wrong with the folder is said before ranks wait for each other.
        let fingerprint = String(try CheckpointFingerprint.of(folder: folder), radix: 16)
        let text =
            "checkpoint \(fingerprint), activations \(options.quantizesActivations ? "quantised" : "as they are"), "
            + "cache \(options.cacheType.rawValue), head \(options.headFormat.rawValue)"
        for (rank, bytes) in try group.allGather(Array(text.utf8)).enumerated() where bytes != Array(text.utf8) {
            let theirs = String(decoding: bytes, as: UTF8.self)
            throw FathomError(
                .configuration,
                "rank \(rank) has \(theirs); rank \(group.rank) has \(text) (\(folder)); "
                    + "all ranks need the same checkpoint and options")
        }
    }

    /// Tokens that every rank's cache has room for.
    private static func agreedCacheTokens(
        _ group: RankGroup, _ folder: String, _ options: DeepSeekExecutor.Options, hasOwnCache: Bool
    ) throws(FathomError) -> Int {
        let own = DeepSeekExecutor.cacheTokens(
            options, try DeepSeekConfiguration(folder: folder),
            caches: hasOwnCache ? group.topology.ranksPerNode : 1)
        let all = try group.allGather(Array("\(own)".utf8)).compactMap { Int(String(decoding: $0, as: UTF8.self)) }
        return all.min() ?? own
    }

    /// The layers that call the exchange.
    var expertLayers: [Int] {
        (0..<model.configuration.layerCount).filter(model.configuration.hasExperts)
    }

    /// Computes this rank's part of a step.
    func run(_ message: StepMessage, step: UInt64) throws(FathomError) -> LogitsMatrix {
        send(message.copies, step: step)
        for source in message.sources { try awaitBlocks(of: Int(source), step: step) }
        try exchange.begin(message)
        return try model.forward(message.chunks, exchange: exchange)
    }

    // MARK: Cache blocks

    private func send(_ copies: [StepMessage.Copy], step: UInt64) {
        for copy in copies {
            for range in model.cacheRanges(ofBlock: copy.block) {
                // SAFETY: a block's stretch of the cache, which nobody writes before the step.
                let bytes = UnsafeRawBufferPointer(start: cacheRegion.local + range.lowerBound, count: range.count)
                cacheRegion.put(bytes, to: Int(copy.target), at: range.lowerBound)
            }
        }
        for target in Set(copies.map(\.target)).sorted() { cacheRegion.signal(Int(target), group.rank, step) }
    }

    private func awaitBlocks(of source: Int, step: UInt64) throws(FathomError) {
        let came = try cacheRegion.wait(
            source, atLeast: step, timeoutMilliseconds: Self.exchangeTimeoutMilliseconds, watching: [source])
        guard came else {
            throw FathomError(.unavailable, "rank \(source) did not send its cache blocks of step \(step)")
        }
    }
}
