# What Python programs do: objects, dictionaries, strings, a sort, JSON, a little arithmetic with large integers.
import json
import re


class Account:
    def __init__(self, name):
        self.name = name
        self.balance = 0
        self.history = []

    def move(self, amount):
        self.balance += amount
        self.history.append(amount)
        return self


text = open("/mnt/text").read()[:120000]
words = {}
for word in re.findall(r"[a-z]+", text):
    words[word] = words.get(word, 0) + 1
top = sorted(words.items(), key=lambda item: (-item[1], item[0]))[:50]
accounts = [Account(word) for word, _ in top]
for i in range(30000):
    accounts[i % 50].move((i * 7919) % 101 - 50)
packed = json.dumps([{"name": a.name, "balance": a.balance, "history": a.history[:40]} for a in accounts])
back = json.loads(packed)
product = 1
for i in range(1, 400):
    product *= i
print(top[:5], sum(item["balance"] for item in back), len(packed), product % 1000003)
