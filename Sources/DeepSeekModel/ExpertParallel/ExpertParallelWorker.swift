// SPDX-License-Identifier: MIT

public import Logging
public import Platform
public import Ranks

// SAFETY: In this file addresses lie in the ranks' regions, at the places of `StepLayout`. A step's message is written
// before its signal and read after it; an answer likewise.

/// A rank of an expert-parallel model that computes what the first rank says.
public final class ExpertParallelWorker: Sendable {
    private let member: ExpertParallelMember
    private let logger: Logger

    /// - Parameters:
    ///   - group: this rank's membership; its rank is not 0.
    ///   - options: as at every rank.
    /// - Throws: what is wrong with the folder, or a rank that is lost.
    public convenience init(
        group: RankGroup, folder: String, options: DeepSeekExecutor.Options, logger: Logger
    ) throws(FathomError) {
        try self.init(group: group, folder: folder, options: options, ownCaches: false, logger: logger)
    }

    /// As the public one; with `ownCaches` as at every rank.
    package init(
        group: RankGroup, folder: String, options: DeepSeekExecutor.Options, ownCaches: Bool, logger: Logger
    ) throws(FathomError) {
        precondition(group.rank > 0, "rank 0 has the executor")
        self.logger = logger
        member = try ExpertParallelMember(
            group: group, folder: folder, options: options, ownCaches: ownCaches, logger: logger, progress: nil)
    }

    /// How long to wait for a step before looking again whether the first rank is there.
    private static let idleMilliseconds = 1_000

    /// Computes steps until the first rank has left or does without this one.
    ///
    /// - Throws: `unavailable` if the first rank is lost, `badData` for a message that is none.
    public func run() throws(FathomError) { try run(leavingInStep: nil) }

    /// As `run`, but leaves in a step instead of computing it, as a lost rank would.
    package func run(leavingInStep last: UInt64?) throws(FathomError) {
        let layout = member.layout
        let region = member.region
        var step: UInt64 = 0
        while true {
            let came: Bool
            do throws(FathomError) {
                came = try region.wait(
                    layout.stepped, atLeast: step + 1, timeoutMilliseconds: Self.idleMilliseconds, watching: [0])
            } catch {
                guard member.group.hasLeft(0) else {
                    throw FathomError(
                        .unavailable, "this worker ends with the process that it works for: \(error.message)")
                }
                logger.info("the worker ends: \(error.message)")
                return
            }
            guard came else { continue }
            step = region.value(layout.stepped)
            if let last, step >= last { return }
            let count = Int((region.local + layout.step).load(as: Int32.self))
            let words = UnsafeBufferPointer(
                start: (region.local + layout.step + 4).assumingMemoryBound(to: Int32.self), count: count)
            let message = try StepMessage(words: words)
            guard message.members.contains(Int32(member.group.rank)) else { return }
            do throws(FathomError) {
                let logits = try member.run(message, step: step)
                logits.values.withUnsafeBytes { answer(.logits, count: logits.rowCount, $0) }
                if message.wantsCounts {
                    member.exchange.counts.withUnsafeBytes { put($0, at: layout.counts(of: member.group.rank)) }
                }
            } catch {
                member.exchange.abandon()
                let text = Array("\(error)".utf8.prefix(StepLayout.errorByteCount))
                text.withUnsafeBytes {
                    answer(error.code == .unavailable ? .gaveUp : .failed, count: text.count, $0)
                }
            }
            region.signal(0, layout.answered(by: member.group.rank), step)
        }
    }

    private func answer(_ status: StepLayout.Status, count: Int, _ bytes: UnsafeRawBufferPointer) {
        let rank = member.group.rank
        [status.rawValue, Int32(count)].withUnsafeBytes { put($0, at: member.layout.answer(of: rank)) }
        put(bytes, at: member.layout.logits(of: rank))
    }

    /// Writes to the first rank.
    private func put(_ bytes: UnsafeRawBufferPointer, at offset: Int) {
        member.region.put(bytes, to: 0, at: offset)
    }
}
