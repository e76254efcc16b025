// SPDX-License-Identifier: MIT

public import Logging
public import Platform
public import Ranks

// SAFETY: In this file addresses lie in the ranks' shared regions, at the places of `ExchangeLayout`.

/// A rank of an expert-parallel model that computes what the first rank says.
public final class ExpertParallelWorker: Sendable {
    private let member: ExpertParallelMember
    private let logger: Logger

    /// - Parameters:
    ///   - group: this rank's membership; its rank is not 0.
    ///   - options: as at every rank.
    /// - Throws: what is wrong with the folder, or a rank that is lost.
    public init(
        group: RankGroup, folder: String, options: DeepSeekExecutor.Options, logger: Logger
    ) throws(FathomError) {
        precondition(group.rank > 0, "rank 0 has the executor")
        self.logger = logger
        member = try ExpertParallelMember(
            group: group, folder: folder, options: options, logger: logger, progress: nil)
    }

    /// How long to wait for a step before looking again whether the first rank is there.
    private static let idleMilliseconds = 1_000

    /// Computes steps until the first rank is gone or does without this one.
    ///
    /// - Throws: `badData` for a message that is none.
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
                // However the first rank ended, there is nobody left to work for.
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
                answer(try member.run(message, step: step))
            } catch {
                member.abort(step: step, members: message.members)
                answer(error)
            }
            region.signal(0, layout.answered(by: member.group.rank), step)
        }
    }

    private func answer(_ logits: LogitsMatrix) {
        let place = member.region.local + member.layout.answer
        place.storeBytes(of: ExchangeLayout.Status.logits.rawValue, as: Int32.self)
        place.storeBytes(of: Int32(logits.rowCount), toByteOffset: 4, as: Int32.self)
        logits.values.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return }
            (member.region.local + member.layout.logits).copyMemory(from: start, byteCount: bytes.count)
        }
    }

    private func answer(_ error: FathomError) {
        let place = member.region.local + member.layout.answer
        let text = Array("\(error)".utf8.prefix(ExchangeLayout.errorByteCount))
        let status: ExchangeLayout.Status = error.code == .unavailable ? .gaveUp : .failed
        place.storeBytes(of: status.rawValue, as: Int32.self)
        place.storeBytes(of: Int32(text.count), toByteOffset: 4, as: Int32.self)
        text.withUnsafeBytes { bytes in
            guard let start = bytes.baseAddress else { return }
            (member.region.local + member.layout.logits).copyMemory(from: start, byteCount: bytes.count)
        }
    }
}
