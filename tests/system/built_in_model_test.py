"""The model that comes with deepserve: a chat turn gets an answer in plain English."""

import unittest

import harness
from harness import Dsd

ANSWERS = {
    "Hello": "How can I help you",
    "Who are you?": "I am tiny",
    "How are you?": "I am well, thank you",
    "What is a dog?": "A dog is an animal",
    "What is the capital of France?": "The capital of France is Paris",
    "What is the opposite of hot?": "cold",
    "Why is the sky blue?": "The sky is blue because",
    "How do I make tea?": "Boil some water",
    "What is 2 plus 2?": "4",
    "Tell me a story about a fox.": "fox",
}


class BuiltInModel(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.dsd = cls.enterClassContext(Dsd(harness.DEVICE + harness.model_toml()))
        cls.dsd.wait_ready()

    def ask(self, *messages):
        roles = ["user", "assistant"] * len(messages)
        body = {"model": "tiny", "max_tokens": 200, "temperature": 0,
                "messages": [{"role": role, "content": text} for role, text in zip(roles, messages)]}
        answer = self.dsd.api("POST", "/v1/chat/completions", body)
        self.assertEqual(answer.status, 200, answer.text)
        choice = answer.json["choices"][0]
        self.assertEqual(choice["finish_reason"], "stop", choice)
        return choice["message"]["content"]

    def test_a_question_gets_its_answer_and_an_end(self):
        for question, words in ANSWERS.items():
            with self.subTest(question):
                self.assertIn(words, self.ask(question))

    def test_a_second_turn_is_understood_by_the_first(self):
        question = "What is a dog?"
        answer = self.ask(question)
        self.assertIn("Yes, a dog is an animal", self.ask(question, answer, "Is it an animal?"))

    def test_a_name_is_remembered(self):
        greeting = "My name is Anna."
        self.assertIn("Anna", self.ask(greeting, self.ask(greeting), "What is my name?"))


if __name__ == "__main__":
    harness.main()
