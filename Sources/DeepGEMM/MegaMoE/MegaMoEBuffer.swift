// SPDX-License-Identifier: MIT

public import KernelDispatch
public import Platform
public import Ranks
internal import Synchronization
internal import Workers

// SAFETY: In this file pointers are to areas of the shared memory as `MegaMoEMemory` divides them, and to operands that
// were checked; who may touch what when is what `MegaMoEProtocol` says.

/// Mega MoE over ranks that share memory: each holds some of the experts and has tokens of its own. DeepGEMM's
/// `get_symm_buffer_for_mega_moe` and the calls that take it.
///
/// All ranks make a buffer with the same numbers and call `megaMoE` equally often, each from one thread. A rank shows
/// its tokens and their choices in its own memory; the others pull the rows that their experts need, a wave at a time,
/// and write what these made to the owner's slots (token, k), which the owner adds up in their order. Two signals for
/// each pair of ranks are all that is waited for. Results have the bits of `megaMoE` on one rank, whatever the number
/// of ranks.
///
/// Every wait ends within its limit, and earlier with an error that names a rank that is lost. Then the buffer cannot
/// be used any more.
public final class MegaMoEBuffer: Sendable {
    /// How tokens lie in the buffer.
    public enum Rows: Sendable, Hashable {
        case bfloat16
        /// FP8 E4M3 with a scale for so many neighbours, a multiple of 8: UE8M0 as bytes or packed, or float32.
        case float8E4M3(scaleColumns: Int, powersOfTwo: Bool = true)

        var format: MatrixOperand.Format { self == .bfloat16 ? .bfloat16 : .float8E4M3 }

        var scaleColumns: Int? {
            guard case .float8E4M3(let columns, _) = self else { return nil }
            return columns
        }

        /// Bytes of a scale.
        var scaleBytes: Int {
            guard case .float8E4M3(_, let powersOfTwo) = self else { return 0 }
            return powersOfTwo ? 1 : 4
        }
    }

    let shape: MegaMoEShape
    let memory: MegaMoEMemory
    let group: RankGroup
    let region: SymmetricRegion
    /// How long a rank waits for others without any of them getting on.
    public let timeoutMilliseconds: Int
    private let state = Mutex(State())
    private let workspace = MegaMoEWorkspace()

    private struct State {
        var machine = MegaMoEProtocol()
        var failure: String?
    }

    public var experts: Int { shape.experts }
    public var maximumTokensPerRank: Int { shape.maximumTokens }
    public var topK: Int { shape.topK }
    public var hidden: Int { shape.hidden }
    public var intermediate: Int { shape.intermediate }
    public var sharedExperts: Int { shape.sharedExperts }
    public var rows: Rows { shape.rows }
    /// Bytes that each rank shares: address space, of which what is used becomes memory.
    public var byteCount: Int { memory.byteCount }
    /// The experts of this rank, whose matrices it passes to each call.
    public var localExperts: Range<Int> {
        group.rank * shape.localExperts..<(group.rank + 1) * shape.localExperts
    }

    /// Makes a buffer; all ranks call it.
    ///
    /// - Parameters:
    ///   - experts: of all ranks together, a multiple of their number; rank r has the r-th part.
    ///   - sharedExperts: experts that every token goes to, computed by its own rank.
    ///   - timeoutMilliseconds: nil for that of the group.
    /// - Throws: `usage` for impossible numbers and for ranks that ask for different ones, `unavailable` if memory is
    ///   not shared, missing, or a rank is lost.
    public init(
        group: RankGroup, experts: Int, maximumTokensPerRank: Int, topK: Int, hidden: Int, intermediate: Int,
        sharedExperts: Int = 0, rows: Rows = .float8E4M3(scaleColumns: 32), timeoutMilliseconds: Int? = nil
    ) throws(FathomError) {
        shape = MegaMoEShape(
            rankCount: group.rankCount, experts: experts, maximumTokens: maximumTokensPerRank, topK: topK,
            sharedExperts: sharedExperts, hidden: hidden, intermediate: intermediate, rows: rows)
        try shape.check()
        guard group.sharesMemory else {
            throw FathomError(
                .unavailable,
                "the ranks of this group do not see each other's memory; Mega MoE needs ranks of one machine that "
                    + "do, DeepEP's exchanges go over a network")
        }
        memory = MegaMoEMemory(shape: shape)
        self.group = group
        self.timeoutMilliseconds = timeoutMilliseconds ?? group.limits.timeoutMilliseconds
        let own = shape.numbers
        let all = try group.allGather(own.withUnsafeBytes { Array($0) }, timeoutMilliseconds: timeoutMilliseconds)
        for (other, bytes) in all.enumerated() {
            let theirs = bytes.withUnsafeBytes { bytes in
                (0..<bytes.count / 8).map { bytes.loadUnaligned(fromByteOffset: 8 * $0, as: Int.self) }
            }
            guard theirs == own else {
                throw FathomError(
                    .usage,
                    "rank \(other) makes a buffer of \(theirs) and rank \(group.rank) one of \(own) (experts, tokens, "
                        + "choices, shared experts, hidden, intermediate, numbers and bytes of a scale); the same are "
                        + "legal")
            }
        }
        region = try group.symmetricRegion(
            byteCount: memory.byteCount, signalCount: memory.signalCount, timeoutMilliseconds: timeoutMilliseconds)
    }

    /// This rank's tokens through all experts, and all ranks' tokens through this rank's: see the function `megaMoE`.
    /// All ranks call it, with as many tokens as they have, none included.
    ///
    /// - Parameters:
    ///   - x: [tokens, hidden], K-major, in the format of the buffer's rows.
    ///   - choices: experts of all ranks.
    ///   - weights: those of `localExperts`.
    ///   - shared: as many as the buffer has, or nil for none.
    /// - Returns: how many rows each of `localExperts` has been given, by all ranks.
    /// - Throws: `usage` naming what does not fit, before another rank learns of the call, so that it can be made
    ///   again; `unavailable` naming ranks that are lost or do not come.
    @discardableResult
    public func megaMoE(
        _ x: MatrixOperand, _ choices: MegaMoEChoices, _ weights: MegaMoEWeights, shared: MegaMoEWeights? = nil,
        into y: MatrixResult, options: MegaMoEOptions = MegaMoEOptions(), on context: ComputeContext
    ) throws(FathomError) -> [Int] {
        let call = MegaMoECall(x: x, choices: choices, weights: weights, shared: shared, y: y, options: options)
        try check(call)
        let outcome = state.withLock { state in
            Result { () throws(FathomError) in
                if let failure = state.failure {
                    throw FathomError(
                        .unavailable, "rank \(group.rank): the buffer failed before (\(failure)); make a new one")
                }
                do throws(FathomError) {
                    return try run(call, &state.machine, workspace, on: context)
                } catch {
                    state.failure = error.message
                    throw error
                }
            }
        }
        return try outcome.get()
    }

    /// What the call must have beyond what any has.
    private func check(_ call: MegaMoECall) throws(FathomError) {
        try call.check(expertCount: shape.experts)
        for (what, value, wanted) in [
            ("experts are passed", call.weights.expertCount, shape.localExperts),
            ("shared experts are passed", call.shared?.expertCount ?? 0, shape.sharedExperts),
            ("choices for each token", call.choices.topK, shape.topK),
            ("numbers of a token", call.x.columnCount, shape.hidden),
            ("columns between the products", call.weights.intermediate, shape.intermediate),
        ] where value != wanted {
            throw FathomError(
                .usage, "rank \(group.rank): \(value) \(what); \(wanted), as the buffer was made, is legal")
        }
        guard call.choices.tokenCount <= shape.maximumTokens else {
            throw FathomError(
                .usage,
                "rank \(group.rank): \(call.choices.tokenCount) tokens; 0…\(shape.maximumTokens), as the buffer was "
                    + "made, is legal")
        }
        guard call.x.format == shape.rows.format, call.x.order == .kMajor else {
            throw FathomError(
                .usage,
                "rank \(group.rank): x is \(call.x.format.rawValue) \(call.x.order.rawValue); the buffer takes "
                    + "\(shape.rows.format.rawValue) k-major")
        }
        let granularity = shape.rows.scaleColumns.map { ScaleGranularity.perToken($0) }
        guard call.x.scales?.granularity == granularity else {
            throw FathomError(
                .usage,
                "rank \(group.rank): x has \(call.x.scales.map { "scales of \($0.granularity)" } ?? "no scales"); the "
                    + "buffer takes \(granularity.map { "scales of \($0)" } ?? "none")")
        }
        guard let scales = call.x.scales, (scales.encoding == .float32) != (shape.rows.scaleBytes == 4) else { return }
        throw FathomError(
            .usage,
            "rank \(group.rank): x has \(scales.encoding.rawValue) scales; the buffer takes "
                + (shape.rows.scaleBytes == 4 ? "float32" : "ue8m0 or packedUE8M0"))
    }
}
