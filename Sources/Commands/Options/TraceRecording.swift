// SPDX-License-Identifier: MIT

import ArgumentParser
import FoundationEssentials
import Platform
import Ranks
import Synchronization
import Telemetry

#if canImport(Glibc)
import Glibc
#elseif canImport(Musl)
import Musl
#endif

/// The recording of a command's spans: the one place that opens and closes a trace.
///
/// Of a group of processes each rank but the first writes a file of its own beside the trace, `FILE.rankK`, when it
/// ends. The first waits for those, and puts all of this machine into one: its processes share the monotonic clock.
/// Ranks of other machines have another clock; their files stay, and the command says so.
struct TraceRecording: Sendable {
    /// How long to wait for the files of other ranks, which end with the first.
    private static let patienceMilliseconds = 5_000

    private struct Worker: Sendable {
        var rank: Int
        /// nil where a launcher has started it.
        var process: pid_t?
    }

    private struct Active: Sendable {
        var path: String
        var workers: [Worker] = []
    }

    /// The recording of this process, for those who start other processes.
    private static let active = Mutex<Active?>(nil)

    private let path: String
    private let name: String
    /// nil for a process that is no rank.
    private let rank: Int?
    private let start: Spans.Start

    /// Begins; nil where the command does not record, or was not asked to.
    init?(_ command: any ParsableCommand) {
        guard let traced = command as? any TracedCommand, let file = traced.tracing.trace else { return nil }
        let environment = try? RankEnvironment(ProcessInfo.processInfo.environment)
        let launched = (environment?.topology.rankCount ?? 1) > 1 ? environment : nil
        rank = traced.tracedRank ?? launched?.rank
        // Whoever starts a worker names its file; what a launcher starts has one command line for all ranks.
        let isOwnFile = traced.tracedRank != nil || (rank ?? 0) == 0
        path = isOwnFile ? file : Self.path(file, rank: rank ?? 0)
        let command = "fathom " + (type(of: command).configuration.commandName ?? type(of: command)._commandName)
        name = rank.map { "rank \($0), \(command)" } ?? command
        // Of an earlier run.
        if (rank ?? 0) > 0 { unlink(path) }
        let others = rank == 0 ? 1..<(launched?.topology.rankCount ?? 1) : 1..<1
        Self.active.withLock { [path] in
            $0 = Active(path: path, workers: others.map { Worker(rank: $0, process: nil) })
        }
        Spans.start()
        start = Spans.begin()
    }

    private static func path(_ path: String, rank: Int) -> String { path + ".rank\(rank)" }

    /// The file into which a worker that this process starts is to write; nil while nothing is recorded.
    static func file(ofRank rank: Int) -> String? {
        active.withLock { active in active.map { path($0.path, rank: rank) } }
    }

    /// A worker was started with its file.
    static func started(rank: Int, process: pid_t) {
        active.withLock { $0?.workers.append(Worker(rank: rank, process: process)) }
    }

    /// Writes the file, also of a command that failed, and says on standard error what is in it.
    func finish() throws(FathomError) {
        // Around other spans it would hide when their thread was idle; alone it is what there is to see.
        Spans.end(start, Spans.isEmpty ? .onlyCommand : .command)
        let workers = Self.active.withLock { $0?.workers ?? [] }
        let (files, separate, missing) = gather(workers)
        let place = rank ?? (workers.isEmpty ? nil : 0)
        let summary = try Spans.finish(
            path: path, processName: place == 0 && rank == nil ? "rank 0, \(name)" : name,
            place: place.map { Spans.Place(rank: $0) }, merging: files)
        for file in files { unlink(file) }
        // The first rank speaks for all.
        guard (rank ?? 0) == 0 else { return }
        StandardError.write(text(summary, files: files, separate: separate, missing: missing))
    }

    private func text(_ summary: Spans.Summary, files: [String], separate: [Int], missing: [Int]) -> String {
        var text = "\(Quantity.grouped(summary.spanCount)) spans of \(summary.threadCount) threads in \(path)"
        if !files.isEmpty {
            text += ", and \(Quantity.grouped(summary.mergedCount)) of \(files.count) other ranks"
        }
        if summary.droppedCount > 0 {
            text += "; \(Quantity.grouped(summary.droppedCount)) older ones had no room and are dropped"
        }
        text += "; each costs \(Quantity.decimal(summary.nanosecondsPerSpan, places: 0)) ns, together "
        text += "\(Quantity.decimal(summary.overhead * 100, places: 3)) % of the time\n"
        for rank in separate {
            text += "rank \(rank) ran by another clock: its spans stay in \(Self.path(path, rank: rank))\n"
        }
        for rank in missing {
            text += "rank \(rank) left no spans here; of another machine they are in FILE.rank\(rank) there\n"
        }
        return text
    }

    /// Waits for the workers' files.
    ///
    /// - Returns: files of this machine's clock, and ranks of another or without a file.
    private func gather(_ workers: [Worker]) -> (files: [String], separate: [Int], missing: [Int]) {
        var (files, separate, lost): ([String], [Int], [Int]) = ([], [], [])
        var left = workers
        let clock = ContinuousClock()
        let limit = clock.now.advanced(by: .milliseconds(Self.patienceMilliseconds))
        while true {
            // Looked at before the files: who has ended has written.
            let isGone = left.map { worker in worker.process.map { kill($0, 0) != 0 } ?? false }
            let isLate = clock.now >= limit
            var waiting: [Worker] = []
            for (worker, isGone) in zip(left, isGone) {
                let file = Self.path(path, rank: worker.rank)
                if FilePaths.exists(file) {
                    if isOfThisClock(file) { files.append(file) } else { separate.append(worker.rank) }
                } else if isGone || isLate {
                    lost.append(worker.rank)
                } else {
                    waiting.append(worker)
                }
            }
            left = waiting
            if left.isEmpty { return (files, separate, lost) }
            usleep(20_000)
        }
    }

    private func isOfThisClock(_ file: String) -> Bool {
        guard let bytes = try? MappedFile.read(path: file) else { return false }
        // The labels stand near the beginning.
        return String(decoding: bytes.prefix(4096), as: UTF8.self).contains("clock \(Spans.clockName)")
    }
}

extension SpanKind {
    /// All of a command, which may end on another thread than it began on.
    fileprivate static let onlyCommand = SpanKind("command", category: "command")
    fileprivate static let command = SpanKind("command", category: "command", overlaps: true)
}
