// SPDX-License-Identifier: MIT

import ArgumentParser
import FlashMLA
import Platform

/// How a decode call is cut.
struct MLAExplain: ParsableCommand, TracedCommand {
    static let configuration = CommandConfiguration(
        commandName: "explain",
        abstract: "Show the schedule of a decode call: its items, what they cost, and the threads' shares.",
        discussion: """
            Items are handed out in this order. Cost counts rows times blocks of 64 keys.

            EXAMPLES
              fathom mla explain --heads 16 --lengths 32768,300,12 --threads 8
            """)

    @Option(help: ArgumentHelp("Keys of each request, separated by commas.", valueName: "list"))
    var lengths: String

    @Option(help: ArgumentHelp("Query heads.", valueName: "n"))
    var heads = 16

    @Option(help: ArgumentHelp("Key heads, which divide the query heads.", valueName: "n"))
    var keyHeads = 1

    @Option(help: ArgumentHelp("Query tokens of each request.", valueName: "n"))
    var tokens = 1

    @Option(help: ArgumentHelp("Width of a value, for the memory.", valueName: "n"))
    var valueWidth = 512

    @Option(help: ArgumentHelp("Threads to keep busy; every core where left out.", valueName: "n"))
    var threads: Int?

    @Flag(inversion: .prefixedNo, help: "Tokens do not see the keys of later ones.")
    var causal = true

    @OptionGroup var output: OutputOptions

    @OptionGroup var tracing: TraceOptions

    func validate() throws {
        if MLA.numbers(lengths, from: 0) == nil {
            throw ValidationError("--lengths is a list of numbers from 0 to 2^30, found '\(lengths)'")
        }
        for (flag, value) in [
            ("--heads", heads), ("--key-heads", keyHeads), ("--tokens", tokens), ("--threads", threads ?? 1),
            ("--value-width", valueWidth),
        ] where !(1...1 << 16).contains(value) {
            throw ValidationError("\(flag) is from 1 to 2^16, found \(value)")
        }
    }

    func run() throws {
        let schedule = try MLASchedule(
            lengths: (MLA.numbers(lengths, from: 0) ?? []).map { Int32($0) }, queryCount: tokens, headCount: heads,
            keyHeadCount: keyHeads, isCausal: causal, threadCount: threads ?? Machine.coreCount)
        try Output.render(
            ScheduleReport(schedule, splitBytes: schedule.splitByteCount(valueWidth: valueWidth)),
            asJSON: output.json)
    }
}

/// A schedule as it is shown.
private struct ScheduleReport: Report {
    struct Item: Encodable {
        var request: Int
        var tokens: [Int]
        var heads: [Int]
        var keys: [Int]
        var cost: Int
        var isSplit: Bool
    }

    var items: [Item]
    var threadCosts: [Int]
    /// Mean cost of the threads divided by the largest: 1 where none waits for another.
    var balance: Double
    var splitBytes: Int

    init(_ schedule: MLASchedule, splitBytes: Int) {
        items = schedule.cut.items.map { item in
            let length = Int(schedule.lengths[item.rows.request])
            return Item(
                request: item.rows.request, tokens: [item.rows.tokens.lowerBound, item.rows.tokens.upperBound],
                heads: [item.rows.heads.lowerBound, item.rows.heads.upperBound],
                keys: [
                    item.partitions.lowerBound * partitionSize,
                    min(length, item.partitions.upperBound * partitionSize),
                ],
                cost: item.cost, isSplit: item.storedRows != nil)
        }
        threadCosts = schedule.expectedCosts
        let largest = threadCosts.max() ?? 0
        balance =
            largest == 0
            ? 1 : Double(threadCosts.reduce(0, +)) / Double(threadCosts.count) / Double(largest)
        self.splitBytes = splitBytes
    }

    var text: String {
        var table = Table([.right, .right, .right, .right, .right, .right, .left])
        table.add("item", "request", "tokens", "heads", "keys", "cost", "")
        for (index, item) in items.enumerated() {
            table.add(
                "\(index)", "\(item.request)", range(item.tokens), range(item.heads), range(item.keys),
                "\(item.cost)", item.isSplit ? "split" : "")
        }
        var threads = Table([.right, .right])
        threads.add("thread", "cost")
        for (index, cost) in threadCosts.enumerated() { threads.add("\(index)", "\(cost)") }
        return """
            \(table.text)

            \(threads.text)

            balance \(Quantity.decimal(balance * 100, places: 1)) %, sums of split requests \
            \(Quantity.bytes(splitBytes))
            """
    }

    private func range(_ bounds: [Int]) -> String { "\(bounds[0])..<\(bounds[1])" }
}
