// SPDX-License-Identifier: MIT

import ArgumentParser
import Inference
import Platform
import Tokenizers

/// A conversation in the terminal.
struct Chat: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
        abstract: "Talk with a model in the terminal.",
        discussion: """
            Ctrl-C stops the answer, Ctrl-D ends the program. /reset forgets the conversation, /help lists \
            the \
            commands, /quit ends. Where standard input is not a terminal, each line is a question of one \
            conversation, and standard output holds the answers without their reasoning.

            EXAMPLES
              fathom chat
              fathom chat --model DIR --system "Answer briefly."
              echo "What is 12 plus 30?" | fathom chat --temperature 0
            """)

    @Option(help: ArgumentHelp("What the model is told before the conversation.", valueName: "text"))
    var system: String?

    @Flag(inversion: .prefixedNo, help: "Let a model that can also answer at once think first.")
    var thinking = true

    @Flag(
        inversion: .prefixedNo,
        help: "Show the reasoning before the answer; by default on a terminal only.")
    var showReasoning: Bool?

    @OptionGroup(title: "Sampling") var sampling: SamplingOptions
    @OptionGroup(title: "Model") var model: ModelOptions
    @OptionGroup(title: "Model") var execution: ExecutionOptions
    @OptionGroup(title: "Model") var experts: ExpertOptions
    @OptionGroup var logging: LoggingOptions

    func run() async throws {
        if try experts.workedForAnother(model, execution: execution, logger: logging.logger(label: "fathom")) { return }
        Interruption.takeOver()
        let session = try ModelSession(model: model, execution: execution, experts: experts, logging: logging)
        defer { session.engine.stop() }
        var conversation = Conversation(
            session: session, tokenizer: try session.requireTokenizer(),
            format: try ChatFormat.detect(folder: session.folder), system: system, thinking: thinking,
            sampling: sampling.parameters(defaults: session.defaults.samplingParameters),
            showsReasoning: showReasoning ?? Terminal.outputIsTerminal)
        let isInteractive = Terminal.inputIsTerminal
        if isInteractive {
            StandardError.note("\(FilePaths.name(of: session.folder)) is ready. /help lists the commands.")
        }
        var reader = LineReader()
        while true {
            if isInteractive { StandardError.write("> ") }
            switch try reader.next() {
            case .end:
                if isInteractive { StandardError.write("\n") }
                return
            case .interrupted:
                StandardError.write("\n")
            case .line(let bytes):
                guard try await handle(bytes, &conversation, isInteractive: isInteractive) else { return }
            }
        }
    }

    /// Answers one line. Returns false where it asks for the end.
    private func handle(
        _ bytes: [UInt8], _ conversation: inout Conversation, isInteractive: Bool
    ) async throws(FathomError) -> Bool {
        guard let line = String(validating: bytes, as: UTF8.self) else {
            throw FathomError(.badData, "standard input: a line is not UTF-8")
        }
        var trimmed = line[...]
        while trimmed.first?.isWhitespace == true { trimmed.removeFirst() }
        while trimmed.last?.isWhitespace == true { trimmed.removeLast() }
        switch trimmed {
        case "": return true
        case "/quit", "/exit": return false
        case "/reset":
            conversation.reset()
            StandardError.note("the conversation is forgotten")
        case "/help":
            StandardError.write(Self.commandHelp)
        default:
            do throws(FathomError) {
                try await conversation.answer(String(trimmed))
            } catch  where isInteractive && error.code == .usage {
                // Mostly a conversation that has outgrown the context: say so and go on.
                StandardError.note("error: \(error). /reset begins a new conversation")
            }
        }
        return true
    }

    private static let commandHelp = """
        /reset  forget the conversation
        /help   show this list
        /quit   end; so does Ctrl-D
        Ctrl-C  stop the answer

        """
}
